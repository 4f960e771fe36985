package job

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/outage"
	"github.com/chassi-go/chassi/internal/safetext"
	"github.com/chassi-go/chassi/internal/strictjson"
	"github.com/chassi-go/chassi/internal/task"
	"github.com/chassi-go/chassi/transport"
)

// Options configures a [Server]. Zero fields mean their defaults.
type Options struct {
	Logger   *slog.Logger
	Engine   *task.Engine        // of an event.Server on the same database, which starts and stops it; nil for one of its own
	Outgoing []chassi.Middleware // for [Job.Enqueue], as for outgoing calls: it propagates traces
	// Observe is called when scheduled runs are "started", "skipped" because an earlier one is
	// waiting or running, or "late" by more than a minute, and for each "dead_letter".
	Observe func(event string)
}

// Server runs jobs. It is a [chassi.Transport]; services that are mounted on it are ignored.
type Server struct {
	db     *database.DB
	engine *task.Engine
	own    bool // the engine
	o      Options
	jobs   map[string]*definition

	began sync.Map // time.Time by id of a task
	wake  chan struct{}
	stop  context.CancelFunc
	ended chan struct{}

	mu  sync.Mutex
	due map[string]time.Duration // until the next run, at the last look at the database
	at  time.Time                // of that look
}

var _ chassi.Transport = (*Server)(nil)

// NewServer returns a server on db, without jobs. It creates its tables when it is started.
func NewServer(db *database.DB, o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Observe == nil {
		o.Observe = func(string) {}
	}
	s := &Server{db: db, engine: o.Engine, o: o, jobs: make(map[string]*definition), wake: make(chan struct{}, 1)}
	if s.engine == nil {
		s.own = true
		s.engine = task.NewEngine(db, task.Options{Logger: o.Logger, DeadLettered: func(string) { o.Observe("dead_letter") }})
	}
	return s
}

// Add serves jobs. Their runs pass through middleware, the first one outermost. It must be called
// before the engine is started.
func (s *Server) Add(middleware []chassi.Middleware, jobs ...Definition) error {
	var errs []error
	for _, j := range jobs {
		d := j.define()
		err := d.err()
		if err == nil && s.jobs[d.name] != nil {
			err = fmt.Errorf("two jobs are called %q", d.name)
		}
		if err == nil {
			s.jobs[d.name] = d
			err = s.handle(d, middleware)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("job: %w", err)
	}
	return nil
}

// handle makes the engine run the tasks of a job.
func (s *Server) handle(d *definition, middleware []chassi.Middleware) error {
	b := &chassi.Binding{Endpoint: d.endpoint, Transport: "job", Route: d.name, Status: transport.CodeStatus}
	handler := b.Handler(middleware...)
	if err := b.Err(); err != nil {
		return fmt.Errorf("job %q: %w", d.name, err)
	}
	return s.engine.Handle(task.Queue{
		Name: d.queue(), Tries: d.tries, Ending: s.record,
		Run: func(ctx context.Context, t *task.Task) error {
			s.began.Store(t.ID, time.Now())
			in, out := t.Headers, transport.Pairs(nil)
			in.Set(transport.IdempotencyKey, t.UID)
			in.Set(transport.AttemptsKey, strconv.Itoa(t.Try))
			call := &chassi.Call{Binding: b, RequestID: transport.RequestID(in.Get(transport.RequestIDKey)), In: &in, Out: &out, Codec: codec(t.Body)}
			return handler(call.Context(context.WithValue(ctx, runKey{}, runOf(d, t))), call)
		},
	})
}

// codec decodes the argument of a job.
type codec []byte

// Decode ignores fields that are unknown to this version of the program.
func (c codec) Decode(request any) error {
	if err := strictjson.DecodeResponse(c, request); err != nil {
		return chassi.NewError(chassi.InvalidArgument, "malformed_argument", "The argument of the job cannot be decoded").WithCause(err)
	}
	return nil
}

// Encode discards the empty response.
func (codec) Encode(any) error { return nil }

const maxError = 1 << 10 // bytes

// record returns the statements that store the end of a try.
func (s *Server) record(t *task.Task, o task.Outcome, err error) []database.Statement {
	var took time.Duration
	if began, ok := s.began.LoadAndDelete(t.ID); ok {
		took = time.Since(began.(time.Time)) //nolint:forcetypeassert // no other type is stored
	}
	outcome := map[task.Outcome]string{task.Done: "succeeded", task.Retry: "failed", task.Dead: "dead", task.GivenBack: "given back"}[o]
	text := ""
	if err != nil {
		text = safetext.Clip(err.Error(), maxError)
	}
	name := jobOf(t.Queue)
	now := s.engine.Now()
	return []database.Statement{
		{SQL: `DELETE FROM chassi_runs WHERE job = $1 AND run_id = $2`, Args: []any{name, t.UID}},
		{
			SQL: `INSERT INTO chassi_runs (job, run_id, node, started_at, ended_at, outcome, error)
				SELECT $1, $2, $3, ` + now + ` - $4, ` + now + `, $5, $6 FROM chassi_tasks WHERE id = $7 AND fence = $8`,
			Args: []any{name, t.UID, s.engine.Session(), took.Microseconds(), outcome, text, t.ID, t.Fence()},
		},
		trim(name),
	}
}

// kept is the number of runs of a job that are kept.
const kept = 100

// trim deletes old runs.
func trim(job string) database.Statement {
	return database.Statement{
		SQL: `DELETE FROM chassi_runs WHERE job = $1 AND started_at <
			(SELECT started_at FROM chassi_runs WHERE job = $1 ORDER BY started_at DESC LIMIT 1 OFFSET $2)`,
		Args: []any{job, kept - 1},
	}
}

// recordSkipped stores a run that does not take place.
func (s *Server) recordSkipped(ctx context.Context, tx *database.Tx, d *definition, id string) error {
	now := s.engine.Now()
	_, err := tx.Exec(ctx, `INSERT INTO chassi_runs (job, run_id, node, started_at, ended_at, outcome, error)
		VALUES ($1, $2, $3, `+now+`, `+now+`, 'skipped', $4)`,
		d.name, id, s.engine.Session(), "an earlier run is waiting or running")
	if err == nil {
		t := trim(d.name)
		_, err = tx.Exec(ctx, t.SQL, t.Args...)
	}
	return err
}

// Name returns "jobs".
func (*Server) Name() string { return "jobs" }

// Mount is a no-op: services have no jobs.
func (*Server) Mount(*chassi.Service) error { return nil }

var errDatabase = chassi.NewError(chassi.Unavailable, "database_unavailable", "The database cannot be used")

// Migrate creates or updates the tables of jobs, whose names begin with chassi_. A [Server] does so
// when it is started. It returns an [chassi.Unavailable] error if the database is unavailable.
func Migrate(ctx context.Context, db *database.DB) error { return fault(task.Migrate(ctx, db)) }

func fault(err error) error {
	if database.IsUnavailable(err) {
		return errDatabase.WithCause(err)
	}
	if err != nil {
		return fmt.Errorf("job: %w", err)
	}
	return nil
}

// Start stores the schedules and begins to run jobs.
func (s *Server) Start(ctx context.Context) error {
	err := task.Migrate(ctx, s.db)
	if err == nil {
		err = s.store(ctx)
	}
	if err == nil && s.own {
		err = s.engine.Start(ctx)
	}
	if err != nil {
		return fault(err)
	}
	for _, d := range s.jobs {
		d.server.Store(newSender(d, s.engine, s.o.Outgoing))
	}
	ctx, s.stop = context.WithCancel(context.Background())
	s.ended = make(chan struct{})
	go s.run(ctx)
	return nil
}

// Stop ends starting runs and waits for those that have begun. Shortly before the end of ctx it
// cancels them with the cause [ErrDrained].
func (s *Server) Stop(ctx context.Context) error {
	s.stop()
	<-s.ended
	if s.own {
		return s.engine.Stop(ctx)
	}
	return nil
}

// Wake looks for runs to start at once, instead of within five seconds, after the schedules or
// the clock have been changed.
func (s *Server) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// retryPause is the pause after a failure of the database.
const retryPause = time.Second

func (s *Server) run(ctx context.Context) {
	defer close(s.ended)
	outages := outage.New(s.o.Logger, slog.LevelWarn, "jobs: no run can be started, trying again", "jobs: runs can be started again")
	for ctx.Err() == nil {
		pause, err := s.StartDue(ctx)
		switch {
		case err == nil:
			outages.Succeeded()
		case ctx.Err() == nil:
			outages.Failed(err)
			pause = retryPause
		}
		timer := time.NewTimer(min(pause, maxPause))
		select {
		case <-timer.C:
		case <-s.wake:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// Overdue returns how long ago each scheduled job should have started a run, in seconds: zero
// unless runs cannot be started. It is a metric.
func (s *Server) Overdue() map[string]float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	overdue := make(map[string]float64, len(s.due))
	for name, next := range s.due {
		overdue[name] = max(0, time.Since(s.at).Seconds()-next.Seconds())
	}
	return overdue
}
