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
	Logger   *slog.Logger        // default slog.Default()
	Engine   *task.Engine        // engine of an event.Server on the same database; nil: a new engine
	Outgoing []chassi.Middleware // middleware of [Job.Enqueue], for example to propagate traces
	// Observe is called with the name of each event: "started" or "skipped" for each scheduled run,
	// except runs of a paused job and missed runs that are dropped (see [Missed]); "late" once if
	// the due runs of a job are more than a minute late; and, unless Engine is set, "dead_letter"
	// for each run that becomes a dead letter. A run is skipped if as many earlier runs as
	// [Overlap] permits are waiting or running. Observe may be nil.
	Observe func(event string)
}

// Server runs the jobs that were added to it. It implements [chassi.Transport], but ignores the
// services that are mounted on it.
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
	due map[string]time.Time // times of the next runs by this node's clock, by job, as last read
}

var _ chassi.Transport = (*Server)(nil)

// NewServer returns a server without jobs, whose tables are in db. [Server.Start] creates the
// tables.
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
			err = fmt.Errorf("job: two jobs are named %q", d.name)
		}
		if err == nil {
			s.jobs[d.name] = d
			err = s.handle(d, middleware)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
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

// record returns the statements that record the ends of tries of one job in its history.
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

// recordSkipped records in the history of a job that the runs with the given IDs do not take place.
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

// history returns the statements that update the history of a job: they store those of the runs in
// rows that meet the SQL condition, each in place of its earlier try, and delete the oldest runs.
// Each element of rows consists of the ID of a run, its duration in microseconds, its outcome, its
// error, and the values that the condition uses.
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

// Mount is a no-op, because services have no jobs.
func (*Server) Mount(*chassi.Service) error { return nil }

// Migrate creates or updates the tables of jobs, whose names begin with chassi_. A [Server] does
// this when it starts; a program that adds runs earlier must call Migrate first. Migrate returns a
// [chassi.Unavailable] error if the database is unavailable.
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

// Stop stops starting runs, waits for the runs that have begun, and stops the engine, even if it
// was given in [Options]. Shortly before the deadline of ctx, or when ctx is canceled, Stop cancels
// the runs with the cause [ErrDrained]. It returns an error if runs do not return in time or cannot
// be given back.
func (s *Server) Stop(ctx context.Context) error {
	for _, d := range s.jobs {
		d.sender.Detach(s.engine)
	}
	s.stop()
	<-s.ended
	return s.engine.Stop(ctx)
}

// Wake makes the server check for due runs at once, instead of within five seconds. It is intended
// for callers that have changed the schedules or the clock.
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

// Overdue returns a map from the name of each scheduled job to the number of seconds by which the
// next run of the job is overdue. The number is 0 unless runs cannot be started. Overdue is used
// for a metric.
func (s *Server) Overdue() map[string]float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	overdue := make(map[string]float64, len(s.due))
	for name, next := range s.due {
		overdue[name] = max(0, time.Since(next).Seconds())
	}
	return overdue
}
