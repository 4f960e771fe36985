package store_test

import (
	"testing"
	"time"

	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/dbtest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engines runs test on each engine, and behind PgBouncer, with a way to open stores of one
// empty database, each with connections of its own.
func engines(t *testing.T, test func(t *testing.T, open func() *store.Store)) {
	t.Helper()
	on := func(t *testing.T, url string) {
		test(t, func() *store.Store {
			t.Helper()
			db, err := database.Open(t.Context(), database.Config{URL: url, QueryTimeout: 2 * time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			if _, err := db.Migrate(t.Context(), store.Migrations()); err != nil {
				t.Fatal(err)
			}
			return store.New(db)
		})
	}
	dbtest.Engines(t, on)
	t.Run("pgbouncer", func(t *testing.T) { t.Parallel(); on(t, dbtest.PgBouncer(t)) })
}
