package job

import (
	"context"
	"hash/fnv"
	"time"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/task"
)

// maxPause is the maximum time between two reads of the schedules. It limits how late a server
// notices that a job was resumed or that a clock was changed.
const maxPause = 5 * time.Second

// row is a row of chassi_schedules.
type row struct {
	job, expression, zone string
	next                  time.Time
	paused                bool
	now                   time.Time // the current time of the database
}

func (r *row) fields() []any {
	return []any{&r.job, &r.expression, &r.zone, (*task.Time)(&r.next), &r.paused, (*task.Time)(&r.now)}
}

// rows returns the rows of all jobs in the order of their names. The argument now is the SQL
// expression for the current time.
func rows(ctx context.Context, q database.Querier, now string) ([]row, error) {
	return task.Select(ctx, q, (*row).fields, "SELECT job, expression, zone, next_run, paused, "+now+" FROM chassi_schedules ORDER BY job")
}

// store stores the schedules of the jobs. If the database contains another expression or time zone
// for a job, store sets the next run to the first scheduled time after the current time.
func (s *Server) store(ctx context.Context) error {
	return s.db.Write(ctx, func(ctx context.Context, tx *database.Tx) error {
		var now time.Time
		if err := tx.QueryRow(ctx, "SELECT "+s.engine.Now()).Scan((*task.Time)(&now)); err != nil {
			return err
		}
		for _, d := range s.jobs {
			r := row{next: time.UnixMicro(0)}
			if d.schedule != nil {
				r = row{expression: d.schedule.expression, zone: d.schedule.zone.String(), next: d.schedule.next(now)}
			}
			_, err := tx.Exec(ctx, `INSERT INTO chassi_schedules (job, expression, zone, next_run, paused) VALUES ($1, $2, $3, $4, FALSE)
				ON CONFLICT (job) DO UPDATE SET expression = excluded.expression, zone = excluded.zone, next_run = excluded.next_run
				WHERE chassi_schedules.expression <> excluded.expression OR chassi_schedules.zone <> excluded.zone`,
				d.name, r.expression, r.zone, r.next.UnixMicro())
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// StartDue starts the scheduled runs that are due, and returns the time until the next run is due,
// at most a day. If any run was due, it returns 0, because a further run may be due. A running
// server calls StartDue itself; package jobtest also calls it.
func (s *Server) StartDue(ctx context.Context) (pause time.Duration, err error) {
	list, err := rows(ctx, s.db, s.engine.Now())
	if err != nil {
		return 0, err
	}
	pause = 24 * time.Hour
	due := make(map[string]time.Time)
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.due = due
	}()
	for _, r := range list {
		d := s.jobs[r.job]
		if d == nil || d.schedule == nil {
			continue
		}
		// Another version of the program has another expression, and starts the run unless it
		// has ended.
		delay := d.delay(r.next)
		if r.expression != d.schedule.expression || r.zone != d.schedule.zone.String() {
			delay += late
		}
		wait := r.next.Add(delay).Sub(r.now)
		due[r.job] = time.Now().Add(wait)
		if wait > 0 {
			pause = min(pause, wait)
			continue
		}
		pause = 0 // the following run may be due, too
		if err := s.start(ctx, d, r, r.now.Add(-delay)); err != nil {
			return 0, err
		}
	}
	return pause, nil
}

// delay returns the jitter of a run, which is the same on all nodes.
func (d *definition) delay(run time.Time) time.Duration {
	if d.jitter == 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(d.name + run.UTC().Format(time.RFC3339Nano)))
	return time.Duration(h.Sum64() % uint64(d.jitter)).Truncate(time.Millisecond)
}

// start inserts the tasks of the runs of a job that are due and updates next_run, unless another
// node has already updated next_run. If the job is paused, start only updates next_run. It uses
// [database.DB.WriteShared], so that it does not cause transactions that end tasks to fail, such as
// those of transactional subscriptions.
func (s *Server) start(ctx context.Context, d *definition, r row, now time.Time) error {
	runs, following := d.missed.plan(d.schedule, r.next, now)
	var started, skipped int
	err := s.db.WriteShared(ctx, func(ctx context.Context, tx *database.Tx) error {
		started, skipped = 0, 0
		n, err := tx.Exec(ctx, `UPDATE chassi_schedules SET next_run = $1, expression = $2, zone = $3
			WHERE job = $4 AND next_run = $5 AND expression = $6 AND zone = $7 AND paused = $8`,
			following.UnixMicro(), d.schedule.expression, d.schedule.zone.String(), d.name, r.next.UnixMicro(), r.expression, r.zone, r.paused)
		if err != nil || n == 0 || r.paused {
			return err
		}
		started, err = s.insert(ctx, tx, d, runs)
		skipped = len(runs) - started
		return err
	})
	if err != nil {
		return err
	}
	s.observe.Count("started", started)
	s.observe.Count("skipped", skipped)
	if started+skipped > 0 && now.Sub(r.next) > late {
		s.observe.Count("late", 1)
		s.o.Logger.WarnContext(ctx, "scheduled runs of a job are late",
			"job", d.name, "scheduled", r.next.UTC(), "late", now.Sub(r.next).Round(time.Second).String(), "runs", started)
	}
	if started == 0 {
		return nil
	}
	s.engine.Notify()
	return s.engine.Advance(ctx, task.Key{Queue: d.queue(), Key: d.name})
}

// insert inserts the tasks of runs, and returns the number of inserted tasks. If the job already
// has the maximum number of tasks, insert records the remaining runs as skipped.
func (s *Server) insert(ctx context.Context, tx *database.Tx, d *definition, runs []time.Time) (started int, err error) {
	limit := 1
	if d.overlap == Queue || d.missed == All {
		limit = maxQueued
	}
	var present int
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM chassi_tasks WHERE queue = $1", d.queue()).Scan(&present); err != nil {
		return 0, err
	}
	var skipped []string
	for _, at := range runs {
		run := d.scheduled(at)
		if present+started >= limit {
			skipped = append(skipped, run.UID)
			continue
		}
		started++
		if _, err := task.Insert(ctx, tx, run); err != nil {
			return 0, err
		}
	}
	if len(skipped) == 0 {
		return started, nil
	}
	return started, s.recordSkipped(ctx, tx, d.name, skipped)
}
