package job

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/outage"
	"github.com/chassi-go/chassi/internal/safetext"
	"github.com/chassi-go/chassi/internal/task"
)

// Options configures a [Server]. Zero fields mean their defaults.
type Options struct {
	Logger   *slog.Logger
	Engine   *task.Engine        // of an event.Server on the same database; either server stops it. Nil: a new engine
	Outgoing []chassi.Middleware // for [Job.Enqueue], as for outgoing calls: it propagates traces
	// Observe is called for each scheduled run that is "started", or "skipped" because an earlier
	// run is waiting or running, once when due runs of a job are "late" by more than a minute, and
	// for each "dead_letter" unless Engine is set. It may be nil.
	Observe func(event string)
}

// Server runs jobs. It is a [chassi.Transport]; services that are mounted on it are ignored.
type Server struct {
	db      *database.DB
	engine  *task.Engine
	o       Options
	observe task.Observer
	jobs    map[string]*definition

	wake  chan struct{}
	stop  context.CancelFunc
	ended chan struct{}

	mu  sync.Mutex
	due map[string]time.Time // of the next runs by this node's clock, at the last look at the database
}

var _ chassi.Transport = (*Server)(nil)

// NewServer returns a server on db, without jobs. It creates its tables when it is started.
func NewServer(db *database.DB, o Options) *Server {
	o.Logger = cmp.Or(o.Logger, slog.Default())
	s := &Server{db: db, engine: o.Engine, o: o, observe: o.Observe, jobs: make(map[string]*definition), wake: make(chan struct{}, 1)}
	if s.engine == nil {
		s.engine = task.NewEngine(db, task.Options{Logger: o.Logger, Observe: o.Observe})
	}
	return s
}

// Add makes the server run jobs, and returns the errors in their configuration. Their runs pass
// through middleware, the first one outermost. Add must be called before the engine is started.
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
	run, err := task.Bind(d.endpoint, "job", middleware...)
	if err != nil {
		return fmt.Errorf("job %q: %w", d.name, err)
	}
	q := d.tasks
	q.Name, q.Ending = d.queue(), s.record
	q.Run = func(ctx context.Context, t *task.Task) error {
		return run(context.WithValue(ctx, runKey{}, runOf(d, t)), t)
	}
	return s.engine.Handle(q)
}

const maxError = 1 << 10 // bytes

// record returns the statements that store the ends of tries of one job.
func (s *Server) record(ended []task.Ended) []database.Statement {
	rows := make([][]any, len(ended))
	for i := range ended {
		e := &ended[i]
		text := ""
		if e.Err != nil {
			text = strings.ReplaceAll(safetext.Clip(e.Err.Error(), maxError), "\x00", "")
		}
		rows[i] = []any{e.UID, e.Took.Microseconds(), outcomes[e.Outcome], text, e.ID, e.Fence()}
	}
	return s.history(jobOf(ended[0].Queue), "(SELECT fence FROM chassi_tasks WHERE id = CAST(j.value ->> 4 AS BIGINT)) = CAST(j.value ->> 5 AS BIGINT)", rows)
}

// recordSkipped stores runs that do not take place.
func (s *Server) recordSkipped(ctx context.Context, tx *database.Tx, job string, ids []string) error {
	rows := make([][]any, len(ids))
	for i, id := range ids {
		rows[i] = []any{id, 0, "skipped", "an earlier run is waiting or running"}
	}
	for _, st := range s.history(job, "TRUE", rows) {
		if _, err := tx.Exec(ctx, st.SQL, st.Args...); err != nil {
			return err
		}
	}
	return nil
}

// kept is the maximum number of runs of a job that its history keeps.
const kept = 100

// history returns the statements that store runs for which the condition is true, in place of their
// earlier tries, and delete old runs. A row has the id of a run, the microseconds that it took, the
// outcome, the error, and the values that the condition uses.
func (s *Server) history(job, condition string, rows [][]any) []database.Statement {
	rows = rows[max(0, len(rows)-kept):]
	now := s.engine.Now()
	return []database.Statement{{
		SQL: `INSERT INTO chassi_runs (job, run_id, node, started_at, ended_at, outcome, error)
			SELECT $1, j.value ->> 0, $2, ` + now + ` - CAST(j.value ->> 1 AS BIGINT), ` + now + `, j.value ->> 2, j.value ->> 3
			FROM ` + task.Each(s.db.Dialect(), "$3") + ` WHERE ` + condition + `
			ON CONFLICT (job, run_id) DO UPDATE SET node = excluded.node, started_at = excluded.started_at,
				ended_at = excluded.ended_at, outcome = excluded.outcome, error = excluded.error`,
		Args: []any{job, s.engine.Session(), task.JSON(rows)},
	}, {
		SQL: `DELETE FROM chassi_runs WHERE job = $1 AND started_at <
			(SELECT started_at FROM chassi_runs WHERE job = $1 ORDER BY started_at DESC LIMIT 1 OFFSET $2)`,
		Args: []any{job, kept - 1},
	}}
}

var outcomes = map[task.Outcome]string{task.Done: "succeeded", task.Retry: "failed", task.Dead: "dead", task.GivenBack: "given back"}

// Name returns "jobs".
func (*Server) Name() string { return "jobs" }

// Mount is a no-op: services have no jobs.
func (*Server) Mount(*chassi.Service) error { return nil }

// Migrate creates or updates the tables of jobs, whose names begin with chassi_. A [Server] does so
// when it is started. It returns an [chassi.Unavailable] error if the database is unavailable.
func Migrate(ctx context.Context, db *database.DB) error { return task.Migrate(ctx, db) }

// Start creates the tables, stores the schedules and begins to run jobs. It returns a
// [chassi.Unavailable] error if the database is unavailable.
func (s *Server) Start(ctx context.Context) error {
	err := task.Migrate(ctx, s.db)
	if err == nil {
		err = s.store(ctx)
	}
	if err == nil {
		err = s.engine.Start(ctx)
	}
	if err != nil {
		return task.Unavailable(err)
	}
	for _, d := range s.jobs {
		d.sender.Attach(s.engine, s.o.Outgoing)
	}
	ctx, s.stop = context.WithCancel(context.Background())
	s.ended = make(chan struct{})
	go s.run(ctx)
	return nil
}

// Engine returns the engine that runs the jobs.
func (s *Server) Engine() *task.Engine { return s.engine }

// Stop starts no more runs, waits for the runs that have begun, and stops the engine. Shortly
// before the deadline of ctx it cancels the runs with the cause [ErrDrained].
func (s *Server) Stop(ctx context.Context) error {
	for _, d := range s.jobs {
		d.sender.Detach(s.engine)
	}
	s.stop()
	<-s.ended
	return s.engine.Stop(ctx)
}

// Wake makes the server look for runs to start at once, instead of within five seconds. It is for
// callers that have changed the schedules or the clock.
func (s *Server) Wake() { task.Signal(s.wake) }

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
		select {
		case <-time.After(min(pause, maxPause)):
		case <-s.wake:
		case <-ctx.Done():
		}
	}
}

// Overdue returns, by the name of each scheduled job, how many seconds ago the next run should have
// started: zero unless runs cannot be started. It is used for a metric.
func (s *Server) Overdue() map[string]float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	overdue := make(map[string]float64, len(s.due))
	for name, next := range s.due {
		overdue[name] = max(0, time.Since(next).Seconds())
	}
	return overdue
}
