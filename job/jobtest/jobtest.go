// Package jobtest runs jobs in tests, with a clock that the test advances.
//
//	jobs := jobtest.Start(t, db, time.Date(2027, 3, 27, 12, 0, 0, 0, time.UTC), purge, sendMail)
//	jobs.Advance(24 * time.Hour)
package jobtest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/task"
	"github.com/chassi-go/chassi/job"
	"github.com/chassi-go/chassi/middleware"
)

// Jobs runs jobs by a clock that only the test advances. It is not safe for concurrent use.
type Jobs struct {
	t      testing.TB
	db     *database.DB
	engine *task.Engine
	server *job.Server
}

// clock is the SQL expression for the time of the test's clock, in microseconds since the Unix
// epoch.
const clock = "(SELECT micro FROM jobtest_clock)"

// patience is the maximum duration of a run, of the wait until the runs that are due at one time
// have ended, and of the stop of the server.
const patience = time.Minute

// Start runs jobs on db until the end of the test, by a clock that begins at the time now and moves
// only when [Jobs.Advance] is called. Runs pass through the middleware for recovery, timeouts and
// validation. The clock is stored in a table of the database, so only one Jobs may use the
// database. Errors fail the test.
func Start(t testing.TB, db *database.DB, now time.Time, jobs ...job.Definition) *Jobs {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	j := &Jobs{t: t, db: db}
	j.engine = task.NewEngine(db, task.Options{Logger: quiet, Now: clock, Lease: 1 << 20 * time.Hour, Poll: 10 * time.Millisecond})
	j.server = job.NewServer(db, job.Options{Logger: quiet, Engine: j.engine})
	j.exec("CREATE TABLE jobtest_clock (micro BIGINT NOT NULL)")
	j.exec("INSERT INTO jobtest_clock VALUES ($1)", now.UnixMicro())
	around := []chassi.Middleware{middleware.Recover(), middleware.Timeout(patience), middleware.Validation()}
	j.must(j.server.Add(around, jobs...))
	j.must(j.server.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		j.must(j.server.Stop(ctx))
	})
	return j
}

// Now returns the time of the clock in UTC.
func (j *Jobs) Now() time.Time {
	j.t.Helper()
	return time.UnixMicro(j.query("SELECT " + clock)).UTC()
}

// Advance advances the clock by d. It stops the clock at each time at which a run or a further try
// is due, and waits until all due runs have ended, including those that [job.Job.Enqueue] has
// added. The test fails if they do not end within a minute.
func (j *Jobs) Advance(d time.Duration) {
	j.t.Helper()
	for end := j.Now().Add(d); ; {
		idle := j.settle()
		if j.Now().Equal(end) {
			return
		}
		next := min(j.Now().Add(idle).UnixMicro(), end.UnixMicro())
		next = min(next, j.query("SELECT coalesce(min(due_at), $1) FROM chassi_tasks WHERE state = 1", next))
		j.exec("UPDATE jobtest_clock SET micro = $1", next)
	}
}

// settle waits until all due runs have ended, and returns the time until the next scheduled run, at
// most a day.
func (j *Jobs) settle() (idle time.Duration) {
	j.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		idle, err := j.server.StartDue(j.t.Context())
		j.must(err)
		if idle > 0 && j.query("SELECT count(*) FROM chassi_tasks WHERE state <> 1 OR due_at <= "+clock) == 0 {
			return idle
		}
		if time.Now().After(deadline) {
			j.t.Fatalf("the runs that are due at %v have not ended within %v", j.Now(), patience)
		}
		<-tick.C
		j.engine.Wake()
	}
}

func (j *Jobs) query(query string, args ...any) (n int64) {
	j.t.Helper()
	j.must(j.db.QueryRow(j.t.Context(), query, args...).Scan(&n))
	return n
}

func (j *Jobs) exec(query string, args ...any) {
	j.t.Helper()
	_, err := j.db.Exec(j.t.Context(), query, args...)
	j.must(err)
}

func (j *Jobs) must(err error) {
	j.t.Helper()
	if err != nil {
		j.t.Fatal(err)
	}
}
