package database

import (
	"context"
	"testing"

	"github.com/chassi-go/chassi/internal/dbtest"
)

// setting returns what commits wait for in a transaction.
func setting(t *testing.T, db *DB, write func(context.Context, func(context.Context, *Tx) error) error) (value string) {
	t.Helper()
	query := "PRAGMA synchronous"
	if db.Dialect() == Postgres {
		query = "SHOW synchronous_commit"
	}
	err := write(t.Context(), func(ctx context.Context, tx *Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE counters SET n = n + 1"); err != nil {
			return err
		}
		return tx.QueryRow(ctx, query).Scan(&value)
	})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// Only the relaxed transactions do not wait for the disk, in whatever order they
// come, and their changes are there like any others.
func TestRelaxedTransactions(t *testing.T) {
	t.Parallel()
	for engine, c := range map[string]struct {
		url             func(testing.TB) string
		strict, relaxed string
	}{"sqlite": {dbtest.SQLite, "2", "1"}, "postgres": {dbtest.Postgres, "on", "off"}} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			db := counters(t, Config{URL: c.url(t), MaxOpen: 1})
			for range 2 {
				if got := setting(t, db, db.Write); got != c.strict {
					t.Errorf("Write: %s, want %s", got, c.strict)
				}
				if got := setting(t, db, db.WriteRelaxed); got != c.relaxed {
					t.Errorf("WriteRelaxed: %s, want %s", got, c.relaxed)
				}
			}
			mustExec(t, db, "UPDATE counters SET n = n + 1") // outside of a transaction
			if got := setting(t, db, db.Write); got != c.strict {
				t.Errorf("Write at last: %s, want %s", got, c.strict)
			}
			if n := count(t, db, "SELECT n FROM counters"); n != 6 {
				t.Errorf("n is %d, want 6", n)
			}
		})
	}
}
