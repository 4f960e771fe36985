package event

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/task"
)

// Subscription is a method that is called for each event of a topic. [Server.Add] serves it.
type Subscription struct {
	name          string
	topic         *topic
	endpoint      *chassi.Endpoint
	queue         task.Queue
	ordered, hold bool
	options       []chassi.EndpointOption
	err           error
}

// Option configures a subscription.
type Option func(*Subscription)

// Tries sets how often an event is tried before it becomes a dead letter. The default is 12,
// with delays of 1 s, doubled up to 15 min: about 32 minutes in all. Permanent errors, such as
// [chassi.InvalidArgument] and [chassi.NotFound], make it a dead letter at once.
func Tries(n int) Option {
	return func(s *Subscription) {
		s.require(n > 0, "has a number of tries that is not positive")
		s.queue.Tries = n
	}
}

// Delay sets the delay after the first failed try, which is doubled for each further one up to 15
// minutes. The RetryAfter of an error may make it longer, up to that time. The default is one second.
func Delay(d time.Duration) Option {
	return func(s *Subscription) {
		s.require(d > 0, "has a delay that is not positive")
		s.queue.Delay = d
	}
}

// Concurrency sets how many events this process handles at the same time. The default is 16, and
// with [Transactional] on PostgreSQL at most half of the database's connections.
func Concurrency(n int) Option {
	return func(s *Subscription) {
		s.require(n > 0, "has a concurrency that is not positive")
		s.queue.Concurrency = n
	}
}

// Timeout sets the timeout of each try. It overrides the timeout of the program.
func Timeout(d time.Duration) Option {
	return func(s *Subscription) { s.options = append(s.options, chassi.Timeout(d)) }
}

// Ordered makes a subscription handle the events of one key one after the other, in the order in
// which they were published. An event that fails blocks its key until it succeeds or is a dead
// letter; then the next one is handled.
func Ordered(s *Subscription) { s.ordered = true }

// HoldKey has the effect of [Ordered]. In addition, a dead letter blocks its key: later events of
// the key wait until the dead letter is redriven or discarded.
func HoldKey(s *Subscription) { s.ordered, s.hold = true, true }

// Transactional makes a subscription call its method within [database.DB.Write]. [Tx] returns the
// transaction, which also ends the delivery of the event, so the effect on the database is exactly
// once. The method may be called more than once, if the transaction conflicts with another one, so
// it must have no other effect. The transaction must be short: it has the timeout of one call of
// the database, and on SQLite it is the only writer.
func Transactional(s *Subscription) { s.queue.Transactional = true }

// Tx returns the transaction in which the method of a [Transactional] subscription was called with
// ctx, or nil in any other call.
func Tx(ctx context.Context) *database.Tx { return task.Tx(ctx) }

var subscriptionName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_-]{0,99}$`)

// Subscribe returns a subscription that calls method for each event of the topic. The name, such as
// "welcome-mail", must be unique in the database and, with a broker, among all programs. The
// subscription receives the events that are relayed after a program with the subscription has
// started for the first time. The calls pass through the middleware of the program, without a
// principal, on the transport "event". Fields of an event that T does not have are ignored. Errors
// in the arguments are returned by [Server.Add].
func Subscribe[T any](topic Topic[T], name string, method func(ctx context.Context, e *T) error, options ...Option) *Subscription {
	s := &Subscription{name: name, topic: topic.topic, err: topic.err}
	s.require(subscriptionName.MatchString(name) && name != "all", `has an invalid name: want a letter, then up to 99 letters, digits, _ and -, and not "all"`)
	s.require(method != nil, "has no method")
	for _, o := range options {
		o(s)
	}
	s.require(!s.ordered || topic.key != nil, "is ordered, and no field of "+topic.name+` has the tag event:"key"`)
	serve := func(ctx context.Context, e *T) (*struct{}, error) { return &struct{}{}, method(ctx, e) }
	s.endpoint = chassi.NewEndpoint(name, serve, append(s.options, chassi.Public)...)
	s.err = errors.Join(s.err, s.endpoint.Err())
	s.queue.Name = name
	return s
}

func (s *Subscription) require(ok bool, complaint string) {
	if !ok {
		s.err = errors.Join(s.err, fmt.Errorf("event: subscription %.200q %s", s.name, complaint))
	}
}

// Name returns the name of the subscription.
func (s *Subscription) Name() string { return s.name }

// Topic returns the name of the topic of the subscription.
func (s *Subscription) Topic() string { return s.topic.name }

// Event returns the endpoint that describes the events of the topic, see [AnyTopic].
func (s *Subscription) Event() *chassi.Endpoint { return s.topic.endpoint }

// Endpoint returns the method as an endpoint. Its name is that of the subscription.
func (s *Subscription) Endpoint() *chassi.Endpoint { return s.endpoint }

// Deliver calls the method with the event whose id and JSON are given, through middleware, as a
// [Server] would, but without retrying. It is for tests.
func (s *Subscription) Deliver(ctx context.Context, db *database.DB, id string, body []byte, middleware ...chassi.Middleware) error {
	if s.err != nil {
		return s.err
	}
	run, err := task.Bind(s.endpoint, "event", middleware...)
	if err != nil {
		return err
	}
	return task.Once(ctx, db, s.queue.Transactional, run, &task.Task{Queue: s.name, UID: id, Try: 1, Body: body})
}
