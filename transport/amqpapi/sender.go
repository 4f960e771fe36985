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

// identity provides the property user_id of published messages. RabbitMQ refuses a message whose
// user_id is not the user of the connection. The name in the URL may differ from this user, for
// example with OAuth 2; after the first refusal, messages have no user_id.
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

// learn reports whether err means that the broker has refused the user_id of a message. If so,
// learn records the refusal.
func (i *identity) learn(err *amqp.Error) bool {
	if err == nil || err.Code != amqp.PreconditionFailed || !strings.Contains(err.Reason, "user_id property") {
		return false
	}
	i.refused.Store(true)
	return true
}

// outcome is the outcome of a published message: a response or an error.
type outcome struct {
	delivery amqp.Delivery
	err      error
}

// sender publishes messages over a channel in confirm mode, and delivers the outcome of each
// message to the goroutine that waits for it. It is safe for concurrent use.
type sender struct {
	conn     *amqp.Connection
	channel  *amqp.Channel
	identity *identity
	sizes    *sizes
	sync     chan struct{} // has a value once all earlier returned messages are settled
	over     chan struct{} // closed after the channel is closed and reason is set
	reason   *amqp.Error   // why the channel was closed

	mu          sync.Mutex
	pending     map[string]chan outcome // waiting messages by correlation ID; nil once the channel is closed
	unconfirmed unconfirmed
}

// unconfirmed is the oldest message whose confirmation has not arrived in time.
type unconfirmed struct {
	done  <-chan struct{} // closed when the message is confirmed; nil if there is no such message
	since time.Time       // when the message was published
}

// unconfirmedTime is the time for which the oldest message may remain unconfirmed. After that, the
// connection is closed and established again: after a broker was killed, a channel may hang forever
// although the connection works.
const unconfirmedTime = 10 * time.Second

// hangs is called for a message that was not confirmed in time. It reports whether the channel
// hangs, that is, whether the oldest unconfirmed message that it remembers was published at least
// unconfirmedTime before now. The message was published at since, and done is closed when it is
// confirmed. hangs remembers the message unless an earlier one is still unconfirmed.
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

// newSender sets ch, a channel of conn, to confirm mode and returns a sender that uses ch. It
// starts a goroutine that ends when ch is closed, and adds this goroutine to running.
func newSender(conn *amqp.Connection, ch *amqp.Channel, i *identity, z *sizes, running *sync.WaitGroup) (*sender, error) {
	if err := ch.Confirm(false); err != nil {
		return nil, fmt.Errorf("enable confirm mode: %w", err)
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

// settle delivers o to the goroutine that waits for the message with the correlation ID id, if
// there is one.
func (s *sender) settle(id string, o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if waiting, ok := s.pending[id]; ok {
		delete(s.pending, id)
		waiting <- o
	}
}

// await returns a new, unpredictable correlation ID, and a channel that receives the outcome of the
// message with this ID. waiting is nil if the sender can no longer be used.
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

// abandon settles all waiting messages with the error err. After that, s can no longer be used.
func (s *sender) abandon(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, waiting := range s.pending {
		waiting <- outcome{err: err}
	}
	s.pending = nil
}

// publish publishes p and waits until a queue has stored the message. It returns an error if the
// message cannot be routed or is rejected, or if the channel is closed or ctx is done first. It
// sets the correlation ID and the user ID of p.
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

// closedBy returns an error with the reason why the channel was closed. It must not be called
// before s.over is closed.
func (s *sender) closedBy() error {
	if s.reason == nil {
		return errConnection
	}
	return errors.Join(errConnection, s.reason)
}
