package job

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/task"
)

// Status is the state of a job.
type Status struct {
	Job        string
	Expression string // "" for a job without a schedule
	Zone       string
	Next       time.Time // the next scheduled time; zero without a schedule
	Overdue    bool      // whether Next is more than a minute ago; a [Jitter] is not considered
	Paused     bool
	Waiting    int // number of waiting runs, including those that wait for their next try
	Running    int
	Last       *Record // nil if no run is known
}

// Record is a run that has ended, or the last try of a run that has not ended yet.
type Record struct {
	ID   string
	Node string // the ID of the node's session; "" if the node was lost
	// Started and Ended are the times of the last try. If the node was lost, they are the times at
	// which the run was added and became a dead letter.
	Started, Ended time.Time
	// Outcome is "succeeded", "failed" (the run is tried again), "dead" (the run is a dead letter),
	// "given back" (the node was stopped; the run begins again) or "skipped" (an earlier run was
	// waiting or running).
	Outcome string
	Error   string
}

// ErrUnknown is returned by [Remove], [History], [Pause], [Resume] and [RunNow] if the database
// contains no job of the given name.
var ErrUnknown = chassi.NewError(chassi.NotFound, "unknown_job", "There is no job with this name")

var errArgument = chassi.NewError(chassi.InvalidArgument, "malformed_argument", "The argument of the job is not valid JSON")

// errNoSchedule is the error of [Pause] and [Resume] for a job without a schedule.
var errNoSchedule = chassi.NewError(chassi.FailedPrecondition, "no_schedule", "The job has no schedule")

// List returns the status of each job that programs have stored in the database, in the order of
// the names.
func List(ctx context.Context, db *database.DB) (list []Status, err error) {
	err = db.Read(ctx, func(ctx context.Context, tx *database.Tx) error {
		jobs, err := rows(ctx, tx, task.Now(db.Dialect()))
		list = make([]Status, len(jobs))
		for i, r := range jobs {
			s := &list[i]
			*s = Status{Job: r.job, Expression: r.expression, Zone: r.zone, Paused: r.paused}
			if r.expression != "" {
				s.Next, s.Overdue = inZone(r.next, r.zone), r.now.Sub(r.next) > late
			}
			err = errors.Join(err, tx.QueryRow(ctx, `SELECT count(*) FILTER (WHERE state <> 3), count(*) FILTER (WHERE state = 3)
				FROM chassi_tasks WHERE queue = $1`, queueOf(r.job)).Scan(&s.Waiting, &s.Running))
			records, historyErr := history(ctx, tx, r.job, 1)
			if err = errors.Join(err, historyErr); len(records) > 0 {
				s.Last = &records[0]
			}
		}
		return err
	})
	return list, err
}

// Remove deletes a job that no program has any longer, together with its history, runs and dead
// letters. It returns [ErrUnknown] if there is no such job. A program that still has the job stores
// it again when it starts.
func Remove(ctx context.Context, db *database.DB, job string) error {
	var known int64
	name, queue := []any{job}, []any{queueOf(job)}
	err := db.Batch(ctx,
		database.Statement{SQL: "DELETE FROM chassi_schedules WHERE job = $1", Args: name, Affected: &known},
		database.Statement{SQL: "DELETE FROM chassi_runs WHERE job = $1", Args: name},
		database.Statement{SQL: "DELETE FROM chassi_tasks WHERE queue = $1", Args: queue},
		database.Statement{SQL: "DELETE FROM chassi_dead WHERE queue = $1", Args: queue})
	if err == nil && known == 0 {
		err = ErrUnknown.WithCause(fmt.Errorf("job %q", job))
	}
	return err
}

// inZone returns t in the named time zone, or in UTC if the zone cannot be loaded.
func inZone(t time.Time, zone string) time.Time {
	z, err := time.LoadLocation(zone)
	if err != nil {
		z = time.UTC
	}
	return t.In(z)
}

// History returns the last runs of a job, at most a hundred, the latest first. It returns
// [ErrUnknown] if there is no such job.
func History(ctx context.Context, db *database.DB, job string) (list []Record, err error) {
	err = db.Read(ctx, func(ctx context.Context, tx *database.Tx) error {
		if _, err := find(ctx, tx, db, job); err != nil {
			return err
		}
		list, err = history(ctx, tx, job, kept)
		return err
	})
	return list, err
}

// history returns the last runs of a job, at most limit, the latest first. They include the runs
// that are dead letters because their nodes were lost before the ends of the runs were recorded.
func history(ctx context.Context, tx *database.Tx, job string, limit int) ([]Record, error) {
	fields := func(r *Record) []any {
		return []any{&r.ID, &r.Node, (*task.Time)(&r.Started), (*task.Time)(&r.Ended), &r.Outcome, &r.Error}
	}
	return task.Select(ctx, tx, fields, `SELECT run_id, node, started_at, ended_at, outcome, error FROM chassi_runs WHERE job = $1
		UNION ALL SELECT uid, '', created_at, died_at, 'dead', error FROM chassi_dead WHERE queue = $2 AND reason = 'poison'
		ORDER BY 4 DESC LIMIT $3`, job, queueOf(job), limit)
}

// find returns the row of a job, or [ErrUnknown] if there is no such job.
func find(ctx context.Context, tx *database.Tx, db *database.DB, job string) (row, error) {
	all, err := rows(ctx, tx, task.Now(db.Dialect()))
	if err != nil {
		return row{}, err
	}
	i := slices.IndexFunc(all, func(r row) bool { return r.job == job })
	if i < 0 {
		return row{}, ErrUnknown.WithCause(fmt.Errorf("job %q", job))
	}
	return all[i], nil
}

// Pause prevents the start of scheduled runs of a job on all nodes, until [Resume] is called. Runs
// that are waiting or running continue. Pause returns [ErrUnknown] if there is no such job, and a
// [chassi.FailedPrecondition] error if the job has no schedule.
func Pause(ctx context.Context, db *database.DB, job string) error {
	return setPaused(ctx, db, job, true)
}

// Resume ends the pause of a job, so that runs whose scheduled times are after the call are
// started. It returns [ErrUnknown] if there is no such job, and a [chassi.FailedPrecondition] error
// if the job has no schedule.
func Resume(ctx context.Context, db *database.DB, job string) error {
	return setPaused(ctx, db, job, false)
}

func setPaused(ctx context.Context, db *database.DB, job string, paused bool) error {
	return db.Write(ctx, func(ctx context.Context, tx *database.Tx) error {
		r, err := find(ctx, tx, db, job)
		if err != nil {
			return err
		}
		if r.expression == "" {
			return errNoSchedule.WithCause(fmt.Errorf("job %q", job))
		}
		if r.paused && !paused { // the nodes have skipped the runs of the pause, unless none was there
			z, err := time.LoadLocation(r.zone)
			if err != nil {
				return fmt.Errorf("job %q: %w", job, err)
			}
			s, err := parse(r.expression, z)
			if err != nil {
				return fmt.Errorf("job %q: %w", job, err)
			}
			r.next = later(r.next, s.next(r.now))
		}
		_, err = tx.Exec(ctx, "UPDATE chassi_schedules SET paused = $1, next_run = $2 WHERE job = $3", paused, r.next.UnixMicro(), job)
		return err
	})
}

// RunNow adds a run of a job, regardless of its schedule, and returns the ID of the run. The run of
// a scheduled job begins when the earlier runs of the job have ended, even while the job is paused.
// The parameter argument is the argument of the run, encoded as JSON; for a scheduled job, it is
// "{}". RunNow returns [ErrUnknown] if there is no such job, and a [chassi.InvalidArgument] error
// if argument is not JSON. An ID with an error means that the run was added, or may have been added
// if the error is [database.ErrCommitUnknown].
func RunNow(ctx context.Context, db *database.DB, job, argument string) (id string, err error) {
	n := task.New{Queue: queueOf(job), Body: []byte(argument)}
	if !json.Valid(n.Body) {
		return "", errArgument
	}
	err = db.Write(ctx, func(ctx context.Context, tx *database.Tx) error {
		r, err := find(ctx, tx, db, job)
		if err != nil {
			return err
		}
		if n.UID = rand.Text(); r.expression != "" {
			n.UID, n.Key = job+"@"+r.now.Format("2006-01-02T15:04:05.000000Z07:00"), job
		}
		_, err = task.Insert(ctx, tx, n)
		return err
	})
	switch {
	case err == nil:
		err = task.Advance(ctx, db, task.Key{Queue: n.Queue, Key: n.Key})
	case !errors.Is(err, database.ErrCommitUnknown):
		return "", err
	}
	return n.UID, err
}
