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

// Subscription calls a method for each event of a topic. It is created by [Subscribe] and served by
// a [Server] to which [Server.Add] has added it.
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

// Tries sets the maximum number of times that an event is tried before it becomes a dead letter. n
// must be positive. The default is 12; with the default [Delay], the delays between 12 tries add up
// to about 32 minutes. Permanent errors, such as [chassi.InvalidArgument] and [chassi.NotFound],
// make an event a dead letter at once.
func Tries(n int) Option {
	return func(s *Subscription) {
		s.require(n > 0, fmt.Sprintf("has %d tries: want at least 1", n))
		s.queue.Tries = n
	}
}

// Delay sets the delay after the first failed try of an event. The delay doubles after each further
// failed try, up to 15 minutes. If the RetryAfter of the error is longer than the delay, it is used
// instead, also up to 15 minutes. d must be positive; the default is one second.
func Delay(d time.Duration) Option {
	return func(s *Subscription) {
		s.require(d > 0, fmt.Sprintf("has a delay of %v: want a positive duration", d))
		s.queue.Delay = d
	}
}

// Concurrency sets the maximum number of events of the subscription that this process handles at
// the same time. n must be positive. The default is 16; for a [Transactional] subscription on
// PostgreSQL the default is at most half of the maximum number of database connections, but at
// least 1.
func Concurrency(n int) Option {
	return func(s *Subscription) {
		s.require(n > 0, fmt.Sprintf("has a concurrency of %d: want at least 1", n))
		s.queue.Concurrency = n
	}
}

// Timeout sets the timeout of each try. It overrides the program's timeout of calls.
func Timeout(d time.Duration) Option {
	return func(s *Subscription) { s.options = append(s.options, chassi.Timeout(d)) }
}

// Ordered makes a subscription handle the events of each key one at a time, in the order of their
// publication. An event that fails blocks the later events of its key until it succeeds or becomes
// a dead letter. Events with the key "" are not ordered. The type of the events must have a field
// with the tag event:"key".
func Ordered(s *Subscription) { s.ordered = true }

// HoldKey makes a subscription [Ordered], and makes each dead letter block its key: later events of
// the key wait until the dead letter is discarded, or is redriven and then succeeds.
func HoldKey(s *Subscription) { s.ordered, s.hold = true, true }

// Transactional makes a subscription call its method in a transaction of [database.DB.Write]. [Tx]
// returns the transaction, which also records the end of the delivery, so that the effect on the
// database occurs exactly once. If the transaction conflicts with another one, the method is called
// again, so it must have no other effects. The transaction must be short: it has the timeout of a
// single database call, and on SQLite it blocks all other writers.
func Transactional(s *Subscription) { s.queue.Transactional = true }

// Tx returns the transaction in which a [Transactional] subscription has called its method with
// ctx, or nil in any other context.
func Tx(ctx context.Context) *database.Tx { return task.Tx(ctx) }

var subscriptionName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_-]{0,99}$`)

// Subscribe returns a subscription that calls method for each event of the topic. The name, such as
// "welcome-mail", consists of a letter and up to 99 letters, digits, '_' and '-', and must not be
// "all". It must be unique in the database and, with a broker, among all programs. Errors in the
// arguments are returned by [Server.Add].
//
// The subscription receives the events that are relayed after the first start of a program that
// serves it. The calls of method pass through the middleware of the server, on the transport
// "event" and without a principal. Fields of an event that T does not have are ignored.
func Subscribe[T any](topic Topic[T], name string, method func(ctx context.Context, e *T) error, options ...Option) *Subscription {
	s := &Subscription{name: name, topic: topic.topic, err: topic.err}
	s.require(subscriptionName.MatchString(name) && name != "all", `has an invalid name: want a letter, then up to 99 letters, digits, _ and -, and not "all"`)
	s.require(method != nil, "has no method")
	for _, o := range options {
		o(s)
	}
	s.require(!s.ordered || topic.key != nil, "is ordered, but topic "+topic.name+` has no key: want a string or integer field with the tag event:"key"`)
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

// Event returns the endpoint that describes the events of the topic for the schema documents.
func (s *Subscription) Event() *chassi.Endpoint { return s.topic.endpoint }

// Endpoint returns the endpoint that calls the method. The endpoint has the name of the
// subscription.
func (s *Subscription) Endpoint() *chassi.Endpoint { return s.endpoint }

// Deliver calls the method once with an event that has the given ID and JSON body. It returns the
// error of the call, or an error if the configuration of s is invalid. The call passes through
// middleware, the first one outermost, and runs in a transaction of db if the subscription is
// [Transactional]. Deliver is intended for tests.
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
