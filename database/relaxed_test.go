package database

import (
	"context"
	"database/sql"
	"errors"
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

// A statement that commits by itself waits for the disk, also after a relaxed transaction, with
// RETURNING and as a prepared statement.
func TestStatementsAfterRelaxedTransactions(t *testing.T) {
	t.Parallel()
	db := counters(t, Config{URL: dbtest.SQLite(t)})
	const update = "UPDATE counters SET n = n + 1"
	for name, run := range map[string]func(ctx context.Context, stmt, returning *sql.Stmt) error{
		"Exec": func(ctx context.Context, _, _ *sql.Stmt) error {
			_, err := db.DBTX().ExecContext(ctx, update)
			return err
		},
		"QueryRow": func(ctx context.Context, _, _ *sql.Stmt) error {
			return db.DBTX().QueryRowContext(ctx, update+" RETURNING n").Scan(new(int))
		},
		"Stmt.Exec":     func(ctx context.Context, stmt, _ *sql.Stmt) error { _, err := stmt.ExecContext(ctx); return err },
		"Stmt.QueryRow": func(ctx context.Context, _, stmt *sql.Stmt) error { return stmt.QueryRowContext(ctx).Scan(new(int)) },
	} {
		func() {
			stmt, err := db.DBTX().PrepareContext(t.Context(), update)
			if err != nil {
				t.Fatal(err)
			}
			defer stmt.Close()
			returning, err := db.DBTX().PrepareContext(t.Context(), update+" RETURNING n")
			if err != nil {
				t.Fatal(err)
			}
			defer returning.Close()
			if got := setting(t, db, db.WriteRelaxed); got != "1" {
				t.Fatalf("WriteRelaxed: %s", got)
			}
			if err := run(t.Context(), stmt, returning); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			var got string
			if err := db.writer.QueryRowContext(t.Context(), "PRAGMA synchronous").Scan(&got); err != nil || got != "2" {
				t.Errorf("after %s: %s, %v, want 2", name, got, err)
			}
		}()
	}
	stmt, err := db.DBTX().PrepareContext(t.Context(), "INSERT INTO counters (n) VALUES (?)")
	if err != nil {
		t.Fatal(err)
	}
	defer stmt.Close()
	if _, err := stmt.ExecContext(t.Context(), "a\x00b"); !errors.Is(err, errInvalidText) {
		t.Errorf("a string with NUL: %v", err)
	}
}
