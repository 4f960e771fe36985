package amqpapi

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"
)

// identity is the user that messages name as their publisher. RabbitMQ compares it with
// the user of the connection. The two differ where an authentication backend makes up
// the names, as that for OAuth 2 does: then messages name none.
type identity struct {
	user    string
	refused atomic.Bool
}

func (i *identity) userID() string {
	if i.refused.Load() {
		return ""
	}
	return i.user
}

// learn takes note of a broker that refused the user, and tells whether err says so.
func (i *identity) learn(err *amqp.Error) bool {
	if err == nil || err.Code != amqp.PreconditionFailed || !strings.Contains(err.Reason, "user_id property") {
		return false
	}
	i.refused.Store(true)
	return true
}

// outcome is an answer, or why there is none.
type outcome struct {
	delivery amqp.Delivery
	err      error
}

// sender publishes over a channel in confirm mode, and knows the messages that no queue
// took. It is safe for concurrent use.
type sender struct {
	channel  *amqp.Channel
	identity *identity
	sync     chan struct{} // received from once everything returned so far is settled
	over     chan struct{} // closed with the channel, after reason is set
	reason   *amqp.Error   // why the channel was closed

	mu      sync.Mutex
	pending map[string]chan outcome // by correlation id; nil once the channel is closed
}

// newSender puts ch into confirm mode. Its goroutine ends with the channel.
func newSender(ch *amqp.Channel, i *identity, running *sync.WaitGroup) (*sender, error) {
	if err := ch.Confirm(false); err != nil {
		return nil, fmt.Errorf("confirm mode: %w", err)
	}
	s := &sender{channel: ch, identity: i, sync: make(chan struct{}), over: make(chan struct{}), pending: make(map[string]chan outcome)}
	returns := ch.NotifyReturn(make(chan amqp.Return)) // without room, so that a confirmation comes after the return was received
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	running.Go(func() { s.settleReturns(returns, closed) })
	return s, nil
}

func (s *sender) settleReturns(returns <-chan amqp.Return, closed <-chan *amqp.Error) {
	for {
		select {
		case r, ok := <-returns:
			if !ok {
				s.reason = <-closed
				s.identity.learn(s.reason)
				close(s.over)
				return
			}
			s.settle(r.CorrelationId, outcome{err: errUnroutable})
		case s.sync <- struct{}{}:
		}
	}
}

// settle gives a message its outcome, if somebody still waits.
func (s *sender) settle(id string, o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if waiting, ok := s.pending[id]; ok {
		delete(s.pending, id)
		waiting <- o
	}
}

// await registers a message under a new correlation id, which nobody can guess; waiting
// is nil when the channel is closed.
func (s *sender) await() (id string, waiting chan outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending == nil {
		return "", nil
	}
	id, waiting = rand.Text(), make(chan outcome, 1)
	s.pending[id] = waiting
	return id, waiting
}

func (s *sender) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, id)
}

// abandon fails all messages that wait.
func (s *sender) abandon(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, waiting := range s.pending {
		waiting <- outcome{err: err}
	}
	s.pending = nil
}

// publish returns once a queue has the message. It sets the correlation id and the user.
func (s *sender) publish(ctx context.Context, exchange, key string, p *amqp.Publishing) error {
	id, waiting := s.await()
	if waiting == nil {
		return errDisconnected
	}
	defer s.forget(id)
	p.CorrelationId, p.UserId = id, s.identity.userID()
	confirmation, err := s.channel.PublishWithDeferredConfirmWithContext(ctx, exchange, key, true, false, *p)
	if err != nil {
		return fmt.Errorf("publish to %s: %w", key, err)
	}
	ok, err := confirmation.WaitContext(ctx)
	if err != nil {
		return fmt.Errorf("publish to %s: no confirmation: %w", key, err)
	}
	select {
	case <-s.sync:
	case <-s.over:
		return fmt.Errorf("publish to %s: %w", key, s.closedBy())
	}
	select {
	case o := <-waiting:
		return fmt.Errorf("publish to %s: %w", key, o.err)
	default:
	}
	if !ok {
		return fmt.Errorf("publish to %s: %w", key, errRefused)
	}
	return nil
}

// closedBy returns why the channel was closed; it is for use after over.
func (s *sender) closedBy() error {
	if s.reason == nil {
		return errConnection
	}
	return errors.Join(errConnection, s.reason)
}
