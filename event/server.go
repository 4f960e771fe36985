package event

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/outage"
	"github.com/chassi-go/chassi/internal/task"
	"github.com/chassi-go/chassi/transport"
)

// Message is an event on its way through a broker.
type Message struct {
	ID       string
	Topic    string
	Key      string // "" for none
	Target   string // the only subscription that receives it; "" for all
	Replay   string // the id of the replay that sends it again; "" if none does
	Position string // of a received message, see [Backend]
	Headers  transport.Pairs
	Body     []byte
}

// ErrPosition means that the stored position of a subscription is invalid.
var ErrPosition = errors.New("invalid position")

// Backend delivers messages through a broker.
//
// A position is where a subscription is in the messages of its topic. It is stored with the
// messages, in one transaction, so that the next Receive continues behind them. A broker that
// keeps the position of a subscription itself has only the position "".
type Backend interface {
	// Publish returns after the broker has stored the messages, with the error of each. It must
	// keep the order of messages with the same key that were passed to different calls.
	Publish(ctx context.Context, messages []Message) []error
	// Declare creates what the subscription needs, so that it receives what is published from now
	// on, and returns its position. It may be called again, with the position that is stored; the
	// error wraps [ErrPosition] if that is not a position of this broker.
	Declare(ctx context.Context, topic, subscription, position string) (string, error)
	// Receive receives the messages of a subscription behind the position, in order, until ctx
	// ends or the connection is lost. It passes batches of at most 100 to deliver, and
	// acknowledges a batch after deliver has returned nil; after an error it returns that error.
	// One node at a time calls it for a subscription.
	Receive(ctx context.Context, topic, subscription, position string, deliver func(context.Context, []Message) error) error
	// Close ends the connections.
	Close()
}

// Options configures a [Server]. Zero fields mean their defaults.
type Options struct {
	Logger   *slog.Logger
	Backend  Backend             // nil: events are delivered within the database
	Outgoing []chassi.Middleware // for publications, as for outgoing calls: it propagates traces
	Lease    time.Duration       // after which others take over from a node; default 30 s
	Poll     time.Duration       // default 1 s
	Observe  func(event string)  // counts "relayed", "received", "duplicate", "dead_letter"; may be nil
}

// Server relays the events that are published in one database and handles those of its
// subscriptions. It is a [chassi.Transport]; services that are mounted on it are ignored.
type Server struct {
	db         *database.DB
	o          Options
	sql        statements
	middleware []chassi.Middleware
	engine     *task.Engine
	topics     []*topic
	subs       []*Subscription
	outages    *outage.Log
	wake       chan struct{}
	stop       context.CancelFunc
	loops      sync.WaitGroup
	stats      task.Cache[Stats]
}

var _ chassi.Transport = (*Server)(nil)

// NewServer returns a server for events in db. Calls of subscriptions pass through middleware,
// the first one outermost.
func NewServer(db *database.DB, o Options, middleware ...chassi.Middleware) *Server {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Observe == nil {
		o.Observe = func(string) {}
	}
	s := &Server{
		db: db, o: o, sql: newStatements(db.Dialect()), middleware: middleware, wake: make(chan struct{}, 1),
		outages: outage.New(o.Logger, slog.LevelWarn, "events: cannot be relayed now, trying again", "events: are relayed again"),
	}
	s.engine = task.NewEngine(db, task.Options{
		Logger: o.Logger, Lease: o.Lease, Poll: o.Poll, DeadLettered: func(string) { o.Observe("dead_letter") },
	})
	s.engine.OnWake(s.signal)
	s.o.Poll = max(o.Poll, 0)
	if s.o.Poll == 0 {
		s.o.Poll = time.Second
	}
	return s
}

func (s *Server) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Name returns "events".
func (*Server) Name() string { return "events" }

// Mount is a no-op: services receive no events.
func (*Server) Mount(*chassi.Service) error { return nil }

// Publishes declares topics that this program publishes: it relays them, and wakes at once when
// one of their events is committed.
func (s *Server) Publishes(topics ...AnyTopic) error {
	var errs []error
	for _, t := range topics {
		errs = append(errs, t.info().err)
		s.topics = append(s.topics, t.info())
	}
	return errors.Join(errs...)
}

// Add serves subscriptions.
func (s *Server) Add(subscriptions ...*Subscription) error {
	var errs []error
	for _, sub := range subscriptions {
		if sub.err != nil {
			errs = append(errs, sub.err)
			continue
		}
		queue := sub.queue
		var err error
		if queue.Run, err = sub.bind(s.middleware); err == nil {
			err = s.engine.Handle(queue)
		}
		errs = append(errs, err)
		s.subs = append(s.subs, sub)
	}
	return errors.Join(errs...)
}

// Engine returns the engine of the server, which also runs jobs.
func (s *Server) Engine() *task.Engine { return s.engine }

var errBroker = chassi.NewError(chassi.Unavailable, "broker_unavailable", "The broker of events cannot be used")

// Start registers the subscriptions and begins to relay and handle events.
func (s *Server) Start(ctx context.Context) error {
	if err := task.Migrate(ctx, s.db); err != nil {
		return unavailable(err)
	}
	if err := s.register(ctx); err != nil {
		return unavailable(err)
	}
	if err := s.declare(ctx); err != nil {
		return err
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
		t.attach(s)
	}
	return nil
}

func unavailable(err error) error {
	if database.IsUnavailable(err) {
		return chassi.NewError(chassi.Unavailable, "database_unavailable", "The database cannot be used").WithCause(err)
	}
	return err
}

// Stop stops relaying, and stops the engine as [task.Engine.Stop] does.
func (s *Server) Stop(ctx context.Context) error {
	for _, t := range s.topics {
		t.detach(s)
	}
	s.stop()
	err := s.engine.Stop(ctx)
	s.loops.Wait()
	if s.o.Backend != nil {
		s.o.Backend.Close()
	}
	return err
}

// Close closes the connections of a server that was not started.
func (s *Server) Close() {
	if s.o.Backend != nil {
		s.o.Backend.Close()
	}
}

// register writes the rows of the subscriptions.
func (s *Server) register(ctx context.Context) error {
	for _, sub := range s.subs {
		var topic string
		err := s.db.Write(ctx, func(ctx context.Context, tx *database.Tx) error {
			switch err := tx.QueryRow(ctx, "SELECT topic FROM chassi_subscriptions WHERE name = $1", sub.name).Scan(&topic); {
			case errors.Is(err, database.ErrNotFound):
				topic = sub.topic.name
			case err != nil:
				return err
			}
			_, err := tx.Exec(ctx, s.sql.register, sub.name, sub.topic.name, sub.ordered, sub.hold)
			return err
		})
		if err != nil {
			return err
		}
		if topic != sub.topic.name {
			return fmt.Errorf("event: subscription %s is of topic %s in the database, and of %s in this program: choose another name", sub.name, topic, sub.topic.name)
		}
	}
	return nil
}

// declare declares the subscriptions at the broker.
func (s *Server) declare(ctx context.Context) error {
	if s.o.Backend == nil {
		return nil
	}
	for _, sub := range s.subs {
		before, err := s.position(ctx, sub)
		if err != nil {
			return unavailable(err)
		}
		position, err := s.o.Backend.Declare(ctx, sub.topic.name, sub.name, before)
		if errors.Is(err, ErrPosition) {
			return err
		}
		if err != nil {
			return errBroker.WithCause(err)
		}
		if _, err := s.db.Exec(ctx, setPosition, sub.name, position, before); err != nil {
			return unavailable(err)
		}
	}
	return nil
}

// setPosition does not change what another node has changed.
const setPosition = "UPDATE chassi_subscriptions SET position = $2 WHERE name = $1 AND position = $3"

func (s *Server) position(ctx context.Context, sub *Subscription) (position string, err error) {
	err = s.db.QueryRow(ctx, "SELECT position FROM chassi_subscriptions WHERE name = $1", sub.name).Scan(&position)
	return position, err
}

// housekeepInterval is the interval of deleting rows that have expired.
const housekeepInterval = time.Minute

// housekeep records that the subscriptions are served, and deletes kept events and inbox rows
// that have expired.
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

// pause waits for d. It returns false if ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Topics returns the names of the topics that this server publishes, sorted.
func (s *Server) Topics() (names []string) {
	for _, t := range s.topics {
		names = append(names, t.name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
