package main

import (
	"errors"
	"testing"
	"time"

	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/job"
	"github.com/chassi-go/chassi/job/jobtest"
)

// The nightly job deletes cancelled orders of which the retention has ended, and no others.
func TestPurge(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		o := open(t, url, newWarehouse(t))
		now := time.Date(2027, 3, 28, 0, 0, 0, 0, time.UTC)
		for id, order := range map[string]Order{
			"old": {Status: cancelled, Created: now.Add(-retention)}, "new": {Status: cancelled, Created: now.Add(24 * time.Hour).Add(-retention)},
			"shipped": {Status: shipped, Created: now.Add(-2 * retention)},
		} {
			order.ID = id
			must(t, o.store.Insert(t.Context(), order))
		}
		jobs := jobtest.Start(t, o.store.db, now, job.Cron("purge", "30 3 * * *", o.Purge, job.In("Europe/Lisbon")))
		jobs.Advance(12 * time.Hour)
		for id, want := range map[string]error{"old": ErrNotFound, "new": nil, "shipped": nil} {
			if _, err := o.store.Get(t.Context(), id); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", id, err, want)
			}
		}
	})
}
