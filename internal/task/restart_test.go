package task

import (
	"context"
	"testing"
	"time"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/dbtest"
)

// An engine that is started again after its stop runs tasks again.
func TestStartAfterStop(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db, ran := open(t, url), make(chan string, 2)
		e := start(t, db, Options{}, Queue{Name: "q", Run: func(_ context.Context, task *Task) error {
			ran <- task.UID
			return nil
		}})
		must(t, e.Stop(t.Context()))
		must(t, e.Start(t.Context()))
		add(t, db, e, New{Queue: "q", UID: "a"})
		select {
		case <-ran:
		case <-time.After(patience):
			t.Error("the task did not run")
		}
		must(t, e.Stop(t.Context()))
	})
}

// A query that fails is not repeated for each scrape: each of them would wait for the database.
func TestGaugeAfterFailure(t *testing.T) {
	t.Parallel()
	db, err := database.Open(t.Context(), database.Config{URL: "sqlite:" + t.TempDir() + "/a.db"})
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	g := NewGauge(db, "SELECT name, 1 FROM missing", "missing", "name", "help")
	if values := g.Values(); len(values) > 0 {
		t.Errorf("got %v from a missing table", values)
	}
	_, err = db.Exec(t.Context(), "CREATE TABLE missing AS SELECT 'a' AS name")
	must(t, err)
	if values := g.Values(); len(values) > 0 {
		t.Errorf("got %v, want no query within %v of a failure", values, gaugeAge)
	}
	g.at = g.at.Add(-2 * gaugeAge)
	if values := g.Values(); values["a"] != 1 {
		t.Errorf("got %v, want a: 1", values)
	}
}
