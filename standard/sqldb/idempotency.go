package sqldb

import (
	"context"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/idempotency/sqlstore"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/standard"
)

// deleteInterval is the time between two deletions of idempotency keys that have expired.
const deleteInterval = 15 * time.Minute

// AddIdempotency lets callers repeat calls of the named endpoints of s with an Idempotency-Key, see
// [middleware.Idempotency]. It must be called before s is mounted. The keys are kept in db, whose
// migrations contain [sqlstore.Schema], and deleted when they have expired. Unless o.Observe is
// set, the metric idempotency_keys_total counts the calls by outcome. The metric can be registered
// only once: set o.Observe for every service but the first one.
func AddIdempotency(app *standard.App, db *database.DB, s *chassi.Service, o middleware.IdempotencyOptions, endpoints ...string) error {
	if o.Observe == nil {
		var err error
		if o.Observe, err = app.Telemetry.RegisterEvents("idempotency_keys_total", "Calls with an Idempotency-Key, by their outcome."); err != nil {
			return err //nolint:wrapcheck // says where
		}
	}
	store := sqlstore.New(db)
	if err := middleware.Idempotency(s, store, o, endpoints...); err != nil {
		return err //nolint:wrapcheck // says where
	}
	clean := func(ctx context.Context) error { return deleteExpired(ctx, store) }
	app.Add(chassi.Optional(chassi.Background("idempotency keys of "+s.Name(), chassi.RestartOnExit, clean)))
	return nil
}

// deleteExpired deletes expired keys at once and then after each deleteInterval, until ctx ends.
func deleteExpired(ctx context.Context, store *sqlstore.Store) error {
	tick := time.NewTicker(deleteInterval)
	defer tick.Stop()
	for {
		if _, err := store.DeleteExpired(ctx); err != nil {
			return err //nolint:wrapcheck // says where
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
