package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/job"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/events"
	"github.com/chassi-go/chassi/standard/jobs"
	"github.com/chassi-go/chassi/standard/sqldb"
)

// tasksMetrics returns the metrics of a program with an event that failed for good, and a job
// whose run was late and failed.
func tasksMetrics(t *testing.T) (exposition string) {
	t.Helper()
	c := standard.Config{Timeout: time.Minute}
	c.HTTP.Addr, c.Admin.Addr = "127.0.0.1:0", "127.0.0.1:0"
	app, err := standard.New(t.Context(), "tasks", "1", c, standard.Options{Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	none := fstest.MapFS{"sqlite/00001_none.sql": {Data: []byte("-- +goose Up\nSELECT 1;\n")}}
	db, err := sqldb.Add(t.Context(), app, database.Config{URL: dbtest.SQLite(t)}, none)
	if err != nil {
		t.Fatal(err)
	}
	type created struct {
		ID string `json:"id"`
	}
	topic := event.NewTopic[created]("orders.v1.Created")
	gone := func(context.Context, *created) error { return chassi.NewError(chassi.NotFound, "gone", "It is gone") }
	added := events.Add(app, db, events.Config{})
	added.Publishes(topic)
	added.Subscribe(event.Subscribe(topic, "mail", gone))
	app.Add(chassi.ComponentFunc("an event and a late run", func(ctx context.Context) error {
		return db.Write(ctx, func(ctx context.Context, tx *database.Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO chassi_schedules (job, expression, zone, next_run, paused) VALUES ('purge', '@daily', 'UTC', $1, FALSE)",
				time.Now().Add(-time.Hour).UnixMicro())
			if err != nil {
				return err
			}
			return topic.Publish(ctx, tx, &created{"1"})
		})
	}, nil))
	jobs.Add(app, db, job.Cron("purge", "@daily", func(context.Context) error { return io.ErrUnexpectedEOF }))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	select {
	case <-app.Started():
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	eventually(t, "the metrics of events and jobs", func() bool {
		response := httptest.NewRecorder()
		app.Admin.ServeHTTP(response, httptest.NewRequest(http.MethodGet, "http://localhost/metrics", nil))
		exposition = response.Body.String()
		return strings.Contains(exposition, `dead_letters{queue="mail"} 1`) && strings.Contains(exposition, `events_total{event="dead_letter"} 1`) &&
			strings.Contains(exposition, `jobs_total{event="late"} 1`) && strings.Contains(exposition, `route="purge",transport="job"`)
	})
	return exposition
}
