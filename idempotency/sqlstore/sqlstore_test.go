package sqlstore_test

import (
	"context"
	"fmt"
	"testing"
	"testing/fstest"
	"time"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/idempotency"
	"github.com/chassi-go/chassi/idempotency/sqlstore"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/internal/idemtest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open opens a database and brings its schema up to date.
func open(t *testing.T, url string) *database.DB {
	t.Helper()
	db, err := database.Open(t.Context(), database.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	file := db.Dialect().String() + "/00001_idempotency_keys.sql"
	if _, err := db.Migrate(t.Context(), fstest.MapFS{file: {Data: []byte(sqlstore.Schema(db.Dialect()))}}); err != nil {
		t.Fatal(err)
	}
	return db
}

func TestSuite(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		idemtest.Run(t, func(t *testing.T) idempotency.Store { t.Helper(); return sqlstore.New(open(t, url)) })
	})
}

// Rows that have ended are deleted, in several batches, and no others.
func TestDeleteExpired(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db := open(t, url)
		store := sqlstore.New(db)
		const ended = 2500
		err := db.Write(t.Context(), func(ctx context.Context, tx *database.Tx) error {
			_, err := tx.Exec(ctx, fmt.Sprintf(`INSERT INTO idempotency_keys (id, fingerprint, token, finished, expires_at)
				WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
				SELECT 'k' || i, $1, 't', TRUE, i FROM n`, ended), []byte("f"))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		running, finished := idemtest.Attempt(), idemtest.Attempt()
		for _, a := range []idempotency.Attempt{running, finished} {
			if _, _, err := store.Begin(t.Context(), a, time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		if err := store.Finish(t.Context(), finished, []byte("done"), time.Hour); err != nil {
			t.Fatal(err)
		}
		for _, want := range []int64{ended, 0} {
			if n, err := store.DeleteExpired(t.Context()); n != want || err != nil {
				t.Errorf("%d rows deleted, %v, want %d", n, err, want)
			}
		}
		var left int
		if err := db.QueryRow(t.Context(), "SELECT count(*) FROM idempotency_keys").Scan(&left); err != nil || left != 2 {
			t.Errorf("%d rows left, %v, want 2", left, err)
		}
		// Two hours pass.
		if _, err := db.Exec(t.Context(), "UPDATE idempotency_keys SET expires_at = expires_at - 7200000000"); err != nil {
			t.Fatal(err)
		}
		if n, err := store.DeleteExpired(t.Context()); n != 2 || err != nil {
			t.Errorf("%d rows deleted, %v, want 2", n, err)
		}
	})
}
