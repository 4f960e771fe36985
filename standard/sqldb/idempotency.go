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

// deleteInterval is the interval at which expired idempotency keys are deleted.
const deleteInterval = 15 * time.Minute

// AddIdempotency lets clients safely retry calls of the named endpoints of s by sending an
// Idempotency-Key; [middleware.Idempotency] describes the details and the errors that
// AddIdempotency returns. AddIdempotency must be called before s is mounted. The keys are stored in
// db, whose migrations must contain [sqlstore.Schema], and are deleted after they have expired.
//
// Unless o.Observe is set, the metric idempotency_keys_total counts the calls by outcome. The
// metric can be registered only once: set o.Observe for every service but the first one.
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

// deleteExpired deletes expired keys at once and then at intervals of deleteInterval, until ctx is
// done or a deletion fails. It returns the error of that deletion, or nil if ctx is done.
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
