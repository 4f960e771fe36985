package main

import (
	"context"
	"errors"
	"time"

	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/clock"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/redisdb"
)

// watchClocks returns a clock that follows the database's clock, for comparisons with expiry
// times. It adds the differences of this machine's clock from the clocks of the database and of
// Redis to the metrics and to the readiness status, which does not fail because of a difference.
func watchClocks(app *standard.App, cache *redisdb.DB, users *store.Store) (*clock.Clock, error) {
	o := clock.Options{Name: databaseName, Read: users.Clock, Keep: users.KeepHighest, Logger: app.Logger}
	if cache != nil {
		o.Compare = map[string]func(context.Context) (time.Time, error){"redis": cache.Time}
	}
	c := clock.New(o)
	app.AddStatus("clock", func() (status, detail string) {
		switch {
		case len(c.Differences()) == 0:
			return "unknown", c.String()
		case c.Differs():
			return "degraded", c.String()
		}
		return "ok", c.String()
	})
	const difference, behind = "authd_clock_difference_seconds", "authd_clock_catching_up_seconds"
	return c, errors.Join(
		app.Telemetry.RegisterGauges(difference, "How far the clock of this machine is ahead of another one.", "source", c.Differences),
		app.Telemetry.RegisterGauges(behind, "How far a clock that was set back is behind the time that was reached before.", "source",
			func() map[string]float64 { return map[string]float64{"database": c.Ahead().Seconds()} }),
	)
}

// databaseName is the name of the database in logs and metrics.
const databaseName = "database"

// startClock starts c after a first measurement. If that measurement fails, startClock returns an
// error and does not start c.
func startClock(ctx context.Context, c *clock.Clock) error {
	if err := c.Measure(ctx); err != nil {
		if store.IsUnavailable(err) {
			return auth.ErrUnavailable.WithCause(err)
		}
		return err //nolint:wrapcheck // says what
	}
	return c.Start(ctx) //nolint:wrapcheck // does not fail
}
