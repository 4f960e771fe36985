package amqpapi

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// identity is the user named by messages as their publisher. RabbitMQ compares it with the user
// of the connection. If an authentication backend such as OAuth 2 assigns other names, messages
// name no user.
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

// learn records a refusal of the user by the broker, and reports whether err is such a refusal.
func (i *identity) learn(err *amqp.Error) bool {
	if err == nil || err.Code != amqp.PreconditionFailed || !strings.Contains(err.Reason, "user_id property") {
		return false
	}
	i.refused.Store(true)
	return true
}

// outcome is a response or an error.
type outcome struct {
	delivery amqp.Delivery
	err      error
}

// sender publishes over a channel in confirm mode and tracks unroutable messages. It is safe
// for concurrent use.
type sender struct {
	conn     *amqp.Connection
	channel  *amqp.Channel
	identity *identity
	sizes    *sizes
	sync     chan struct{} // delivers a value only when all earlier returns are settled
	over     chan struct{} // closed with the channel, after reason is set
	reason   *amqp.Error   // why the channel was closed

	mu          sync.Mutex
	pending     map[string]chan outcome // by correlation id; nil once the channel is closed
	unconfirmed unconfirmed
}

// unconfirmed is the oldest message for which a confirmation was awaited in vain.
type unconfirmed struct {
	done  <-chan struct{} // closed by its confirmation; nil without such a message
	since time.Time       // when it was published
}

// unconfirmedTime is how long the oldest message may be without a confirmation before the
// connection is closed and established again: a channel of RabbitMQ may hang for ever after the
// broker was killed, while the connection works.
const unconfirmedTime = 10 * time.Second

// hangs records a message for which a confirmation was awaited in vain, and reports whether the
// channel hangs.
func (u *unconfirmed) hangs(done <-chan struct{}, since, now time.Time) bool {
	if u.done != nil {
		select {
		case <-u.done: // too late for its caller
		default:
			return now.Sub(u.since) >= unconfirmedTime
		}
	}
	u.done, u.since = done, since
	return now.Sub(since) >= unconfirmedTime
}

// newSender returns a sender over ch, a channel of conn, which it sets to confirm mode. The goroutine
// of the sender ends with the channel.
func newSender(conn *amqp.Connection, ch *amqp.Channel, i *identity, z *sizes, running *sync.WaitGroup) (*sender, error) {
	if err := ch.Confirm(false); err != nil {
		return nil, fmt.Errorf("confirm mode: %w", err)
	}
	s := &sender{conn: conn, channel: ch, identity: i, sizes: z, sync: make(chan struct{}), over: make(chan struct{}), pending: make(map[string]chan outcome)}
	returns := ch.NotifyReturn(make(chan amqp.Return)) // unbuffered, so that the confirmation is handled after the return
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
				s.sizes.refused(s.reason)
				close(s.over)
				return
			}
			s.settle(r.CorrelationId, outcome{err: errUnroutable})
		case s.sync <- struct{}{}:
		}
	}
}

// settle delivers the outcome of a message, if a caller still waits.
func (s *sender) settle(id string, o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if waiting, ok := s.pending[id]; ok {
		delete(s.pending, id)
		waiting <- o
	}
}

// await registers a message with a new unpredictable correlation id; waiting is nil if the
// channel is closed.
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

// abandon fails all waiting messages with err, and lets no further message wait.
func (s *sender) abandon(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, waiting := range s.pending {
		waiting <- outcome{err: err}
	}
	s.pending = nil
}

// publish publishes p, and returns after a queue has stored the message. It sets the correlation id
// and the user id of p.
func (s *sender) publish(ctx context.Context, exchange, key string, p *amqp.Publishing) error {
	id, waiting := s.await()
	if waiting == nil {
		return errDisconnected
	}
	defer s.forget(id)
	p.CorrelationId, p.UserId = id, s.identity.userID()
	began := time.Now()
	confirmation, err := s.channel.PublishWithDeferredConfirmWithContext(ctx, exchange, key, true, false, *p)
	if err != nil {
		return fmt.Errorf("publish to %s: %w", key, err)
	}
	ok, err := confirmation.WaitContext(ctx)
	if err != nil {
		s.mu.Lock()
		hangs := s.unconfirmed.hangs(confirmation.Done(), began, time.Now())
		s.mu.Unlock()
		if hangs {
			_ = s.conn.CloseDeadline(time.Now())
		}
		return fmt.Errorf("publish to %s: no confirmation: %w", key, err)
	}
	if !ok && s.channel.IsClosed() {
		<-s.over
		return fmt.Errorf("publish to %s: %w", key, s.closedBy())
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

// closedBy returns why the channel was closed; it must be called after over is closed.
func (s *sender) closedBy() error {
	if s.reason == nil {
		return errConnection
	}
	return errors.Join(errConnection, s.reason)
}
