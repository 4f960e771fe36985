// Package jobs adds jobs to an App of package standard, and commands to its command line.
//
//	jobs.Add(app, db, job.Cron("purge", "0 4 * * *", s.Purge), sendMail)
package jobs

import (
	"context"
	"errors"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/task"
	"github.com/chassi-go/chassi/job"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/internal/tasks"
)

// Add makes app run jobs, whose tables are in db. The database must have been added to app before.
// Runs are calls on the transport "job" that pass through the middleware of app. If events in the
// same database were added before, the jobs run on the engine of the events. Add must be called at
// most once for each App.
func Add(app *standard.App, db *database.DB, jobs ...job.Definition) {
	count, err := app.Telemetry.RegisterEvents("jobs_total", "Scheduled runs of jobs, and dead letters, by what happened to them.")
	app.Fail(err)
	app.Add(chassi.ComponentFunc("jobs_tables", func(ctx context.Context) error { return job.Migrate(ctx, db) }, nil))
	app.AddTransport(standard.Transport{New: func(middleware []chassi.Middleware) (chassi.Transport, error) {
		server := job.NewServer(db, job.Options{Logger: app.Logger, Engine: shared(app, db), Outgoing: app.Outgoing, Observe: count})
		var err error
		if app.Transport("events") == nil { // otherwise they are registered
			err = tasks.Register(app, server.Engine().Gauges())
		}
		return server, errors.Join(err,
			server.Add(middleware, jobs...),
			app.Telemetry.RegisterGauges("job_overdue_seconds", "Time since a scheduled job should have started a run.", "name", server.Overdue))
	}})
}

// shared returns the engine of the events of app if their tables are in db, and nil otherwise.
func shared(app *standard.App, db *database.DB) *task.Engine {
	if s, ok := app.Transport("events").(interface{ Engine() *task.Engine }); ok && s.Engine().DB() == db {
		return s.Engine()
	}
	return nil
}
