package event

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/outage"
	"github.com/chassi-go/chassi/internal/task"
)

// Options configures a [Server]. Zero fields mean their defaults.
type Options struct {
	Logger   *slog.Logger        // default slog.Default()
	Backend  Backend             // nil: events are delivered within the database
	Outgoing []chassi.Middleware // middleware of publications, for example to propagate traces
	Lease    time.Duration       // time after which other nodes replace a lost node; default 30 s
	Poll     time.Duration       // interval between checks for work without a notification; default 1 s

	// Observe is called with "relayed", "received", "duplicate" or "dead_letter" for each event
	// that was relayed, received, recognized as a duplicate or made a dead letter. The dead letters
	// of jobs that use the same [Server.Engine] count, too. Observe may be nil.
	Observe func(event string)
}

// Server relays the events that are published in one database and calls the subscriptions that were
// added to it. It implements [chassi.Transport], but ignores the services that are mounted on it.
type Server struct {
	db         *database.DB
	o          Options
	sql        statements
	middleware []chassi.Middleware
	observe    task.Observer
	engine     *task.Engine
	topics     []*topic
	subs       []*Subscription
	outages    *outage.Log
	wake       chan struct{}
	stop       context.CancelFunc
	loops      sync.WaitGroup
}

var _ chassi.Transport = (*Server)(nil)

// NewServer returns a server for events in db. Calls of subscriptions pass through middleware,
// the first one outermost.
func NewServer(db *database.DB, o Options, middleware ...chassi.Middleware) *Server {
	o.Logger, o.Poll = cmp.Or(o.Logger, slog.Default()), cmp.Or(o.Poll, time.Second)
	s := &Server{
		db: db, o: o, sql: newStatements(db.Dialect()), middleware: middleware, observe: o.Observe, wake: make(chan struct{}, 1),
		outages: outage.New(o.Logger, slog.LevelWarn,
			"events: the database or the broker is unavailable, trying again", "events: the database and the broker are available again"),
	}
	s.engine = task.NewEngine(db, task.Options{Logger: o.Logger, Lease: o.Lease, Poll: o.Poll, Observe: o.Observe})
	s.engine.OnWake(func() { task.Signal(s.wake) })
	return s
}

// Name returns "events".
func (*Server) Name() string { return "events" }

// Mount is a no-op, because services receive no events.
func (*Server) Mount(*chassi.Service) error { return nil }

// Publishes declares topics that this program publishes, and returns the errors in their
// configuration. While the server runs, publications of these topics pass through
// [Options].Outgoing, and the commit of a *database.Tx wakes the relay. Events of other topics and
// transactions are relayed at the next poll at the latest. Publishes must be called before Start.
func (s *Server) Publishes(topics ...AnyTopic) error {
	var errs []error
	for _, t := range topics {
		errs = append(errs, t.info().err)
		s.topics = append(s.topics, t.info())
	}
	return errors.Join(errs...)
}

// Add makes the server serve subscriptions, and returns the errors in their configuration. It must
// be called before Start.
func (s *Server) Add(subscriptions ...*Subscription) error {
	var errs []error
	for _, sub := range subscriptions {
		if sub.err != nil {
			errs = append(errs, sub.err)
			continue
		}
		queue := sub.queue
		if queue.Transactional && queue.Concurrency == 0 {
			queue.Concurrency = s.transactions()
		}
		var err error
		if queue.Run, err = task.Bind(sub.endpoint, "event", s.middleware...); err == nil {
			err = s.engine.Handle(queue)
		}
		errs = append(errs, err)
		s.subs = append(s.subs, sub)
	}
	return errors.Join(errs...)
}

// transactions returns the default concurrency of a [Transactional] subscription. On PostgreSQL it
// is at most half of the maximum number of connections, but at least 1, because each call of such a
// subscription holds a connection.
func (s *Server) transactions() int {
	if connections := s.db.SQL().Stats().MaxOpenConnections; s.db.Dialect() == database.Postgres && connections > 0 {
		return min(task.DefaultConcurrency, max(1, connections/2))
	}
	return task.DefaultConcurrency
}

// Engine returns the engine of the server, which can also run jobs.
func (s *Server) Engine() *task.Engine { return s.engine }

var errBroker = chassi.NewError(chassi.Unavailable, "broker_unavailable", "The event broker is unavailable")

// Start creates or updates the tables, registers the subscriptions in the database and at the broker,
// and begins to relay and handle events. It returns a [chassi.Unavailable] error if the database or
// the broker is unavailable.
func (s *Server) Start(ctx context.Context) error {
	err := task.Migrate(ctx, s.db)
	if err == nil {
		err = s.register(ctx)
	}
	if err == nil && s.o.Backend != nil {
		err = s.declare(ctx)
	}
	if err != nil {
		return task.Unavailable(err)
	}
	if err := s.engine.Start(ctx); err != nil {
		return err
	}
	ctx, s.stop = context.WithCancel(context.Background())
	s.loops.Go(func() { s.relay(ctx) })
	s.loops.Go(func() { s.housekeep(ctx) })
	if s.o.Backend != nil {
		for _, sub := range s.subs {
			s.loops.Go(func() { s.receive(ctx, sub) })
		}
	}
	for _, t := range s.topics {
		t.sender.Attach(s.engine, s.o.Outgoing)
	}
	return nil
}

// Stop stops relaying and receiving events, waits for the calls in progress, and closes the
// backend. Shortly before the deadline of ctx it cancels the calls that are still running; their
// events are handled again later. It returns an error if calls do not return in time, or if the
// database does not record that their events must be handled again.
func (s *Server) Stop(ctx context.Context) error {
	for _, t := range s.topics {
		t.sender.Detach(s.engine)
	}
	s.stop()
	err := s.engine.Stop(ctx)
	s.loops.Wait()
	s.Close()
	return err
}

// Close closes the backend, if there is one. It is intended for servers that were not started.
func (s *Server) Close() {
	if s.o.Backend != nil {
		s.o.Backend.Close()
	}
}

// register stores the subscriptions in the database and records that they are served. It returns an
// error if the database contains a subscription of the same name and another topic.
func (s *Server) register(ctx context.Context) error {
	for _, sub := range s.subs {
		err := s.db.Write(ctx, func(ctx context.Context, tx *database.Tx) error {
			var topic string
			err := tx.QueryRow(ctx, s.sql.register, sub.name, sub.topic.name, sub.ordered, sub.hold).Scan(&topic)
			if err == nil && topic != sub.topic.name {
				err = fmt.Errorf("event: subscription %s belongs to topic %s in the database, but to %s in this program: choose another name",
					sub.name, topic, sub.topic.name)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// declare declares the subscriptions at the broker and stores their positions.
func (s *Server) declare(ctx context.Context) error {
	for _, sub := range s.subs {
		before, err := s.position(ctx, sub)
		if err != nil {
			return err
		}
		position, err := s.o.Backend.Declare(ctx, sub.topic.name, sub.name, before)
		if errors.Is(err, ErrPosition) {
			return err
		}
		if err != nil {
			return errBroker.WithCause(err)
		}
		if _, err := s.db.Exec(ctx, setPosition, sub.name, position, before); err != nil {
			return err
		}
	}
	return nil
}

// setPosition is the statement that sets the position of a subscription, unless another node has
// changed the position in the meantime.
const setPosition = "UPDATE chassi_subscriptions SET position = $2 WHERE name = $1 AND position = $3"

func (s *Server) position(ctx context.Context, sub *Subscription) (position string, err error) {
	err = s.db.QueryRow(ctx, "SELECT position FROM chassi_subscriptions WHERE name = $1", sub.name).Scan(&position)
	return position, err
}

// housekeepInterval is the interval at which [Server.housekeep] does its work.
const housekeepInterval = time.Minute

// housekeep records periodically that the subscriptions are served, and deletes kept events and
// inbox rows that have expired, until ctx is done.
func (s *Server) housekeep(ctx context.Context) {
	tick := time.NewTicker(housekeepInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		err := s.register(ctx)
		for _, sql := range []string{s.sql.expireOutbox, s.sql.expireInbox} {
			for n := int64(1); err == nil && n > 0 && ctx.Err() == nil; {
				err = s.db.BatchShared(ctx, database.Statement{SQL: sql, Affected: &n})
			}
		}
		if err != nil && ctx.Err() == nil {
			s.outages.Failed(err)
		}
	}
}

// Gauges returns the metrics of unrelayed events and of unserved subscriptions in the database, and
// those of [task.Engine.Gauges].
func (s *Server) Gauges() []*task.Gauge {
	return append(s.engine.Gauges(),
		task.NewGauge(s.db, s.sql.oldest, "events_unrelayed_seconds", "of",
			"Age of the oldest event that was not relayed: ready, or held by a running transaction."),
		task.NewGauge(s.db, s.sql.unserved, "subscription_unserved_seconds", "subscription",
			"Time since a program last served a subscription."))
}
