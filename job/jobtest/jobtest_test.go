package jobtest_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/job"
	"github.com/chassi-go/chassi/job/jobtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A day passes: a schedule across a change of the clock, a delayed run, and one that fails twice.
func TestAdvance(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db, err := database.Open(t.Context(), database.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		var jobs *jobtest.Jobs
		var ran []string
		note := func(what string) { ran = append(ran, jobs.Now().Format("02 15:04:05 ")+what) }
		type mail struct{}
		nightly := job.Cron("nightly", "30 1 * * *", func(ctx context.Context) error {
			note("nightly " + job.RunFrom(ctx).Scheduled.Format("15:04"))
			return nil
		}, job.In("Europe/Lisbon"))
		send := job.New("send", func(ctx context.Context, _ *mail) error {
			note("send")
			if job.RunFrom(ctx).Try < 3 {
				return errors.New("fails")
			}
			return nil
		})
		spread := 0
		weekly := job.Cron("weekly", "@weekly", func(context.Context) error { spread++; return nil }, job.Jitter(time.Hour))
		jobs = jobtest.Start(t, db, time.Date(2027, 3, 27, 12, 0, 0, 0, time.UTC), nightly, send, weekly)
		err = db.Write(t.Context(), func(ctx context.Context, tx *database.Tx) error {
			_, err := send.Enqueue(ctx, tx, &mail{}, job.At(jobs.Now().Add(time.Hour)))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		jobs.Advance(48 * time.Hour)
		want := []string{"27 13:00:00 send", "27 13:00:01 send", "27 13:00:03 send", "28 01:00:00 nightly 02:00", "29 00:30:00 nightly 01:30"}
		if !slices.Equal(ran, want) {
			t.Errorf("ran %q, want %q", ran, want)
		}
		if spread != 1 {
			t.Errorf("the weekly job ran %d times", spread)
		}
		if now := jobs.Now().Format("02 15:04"); now != "29 12:00" {
			t.Errorf("the clock shows %s", now)
		}
	})
}
