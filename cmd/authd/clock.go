package main

import (
	"context"
	"errors"
	"time"

	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/clock"
	"github.com/chassi-go/chassi/standard"
)

// watchClocks returns the clock that decides, which follows the database's, and shows how
// far this machine's is from it and from that of Redis: in readiness, where it is no
// failure, and as metrics.
func watchClocks(std *standard.Standard, users *store.Store) (*clock.Clock, error) {
	o := clock.Options{Name: databaseName, Read: users.Clock, Keep: users.KeepHighest, Logger: std.Telemetry.Logger}
	if std.Redis != nil {
		o.Compare = map[string]func(context.Context) (time.Time, error){"redis": std.Redis.Time}
	}
	c := clock.New(o)
	std.Inform("clock", func() (status, detail string) {
		if c.Differs() {
			return "degraded", c.String()
		}
		return "ok", c.String()
	})
	const difference, behind = "authd_clock_difference_seconds", "authd_clock_catching_up_seconds"
	return c, errors.Join(
		std.Telemetry.RegisterGauges(difference, "How far the clock of this machine is ahead of another one.", "source", c.Differences),
		std.Telemetry.RegisterGauges(behind, "How far a clock that was set back is behind the time that was reached before.", "source",
			func() map[string]float64 { return map[string]float64{"database": c.Ahead().Seconds()} }),
	)
}

// databaseName is what the database is called in logs and metrics.
const databaseName = "database"

// startClock needs the database's time once.
func startClock(ctx context.Context, c *clock.Clock) error {
	if err := c.Measure(ctx); err != nil {
		if store.IsUnavailable(err) {
			return auth.ErrUnavailable.WithCause(err)
		}
		return err //nolint:wrapcheck // says what
	}
	return c.Start(ctx) //nolint:wrapcheck // does not fail
}
