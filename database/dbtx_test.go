package database

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"
	"time"
)

// The queries that sqlc generates for a row, rows, a statement and a prepared statement work
// outside of a transaction, those that write and return rows included.
func TestDBTX(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		db := counters(t, c)
		x := db.DBTX()
		result, err := x.ExecContext(t.Context(), "-- name: Set :execrows\nUPDATE counters SET n = $1 WHERE id = $2", 7, 1)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := result.RowsAffected(); n != 1 || err != nil {
			t.Errorf("%d rows affected, %v", n, err)
		}
		var n int64
		err = x.QueryRowContext(t.Context(), "-- name: Add :one\nINSERT INTO counters (id, n) VALUES ($1, $2) RETURNING n", 2, 8).Scan(&n)
		if n != 8 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if n, err := sum(t.Context(), x, "-- name: List :many\nSELECT n FROM counters ORDER BY id"); n != 15 || err != nil {
			t.Errorf("the sum is %d, %v", n, err)
		}
		stmt, err := x.PrepareContext(t.Context(), "SELECT n FROM counters WHERE id = $1")
		if err != nil {
			t.Fatal(err)
		}
		defer stmt.Close()
		if err := stmt.QueryRowContext(t.Context(), 1).Scan(&n); n != 7 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if err := x.QueryRowContext(t.Context(), "SELECT n FROM counters WHERE id = 3").Scan(&n); !errors.Is(err, sql.ErrNoRows) {
			t.Errorf("%v, want sql.ErrNoRows", err)
		}
		if _, err := x.ExecContext(t.Context(), "INSERT INTO counters (id, n) VALUES (1, 1)"); !IsUnique(err) {
			t.Errorf("%v, want a violation of a constraint", err)
		}
		if err := x.QueryRowContext(t.Context(), "INSERT INTO counters (id, n) VALUES (1, 1) RETURNING n").Scan(&n); !IsUnique(err) {
			t.Errorf("%v, want a violation of a constraint", err)
		}
	})
}

func sum(ctx context.Context, x DBTX, query string) (total int64, err error) {
	rows, err := x.QueryContext(ctx, query)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return 0, err
		}
		total += n
	}
	return total, rows.Err()
}

// Inside of a transaction the queries see its changes, which are undone with it, and the
// database itself cannot be used.
func TestDBTXInTransaction(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		db := counters(t, c)
		undo := errors.New("undo")
		err := db.Write(t.Context(), func(ctx context.Context, tx *Tx) error {
			if _, err := tx.DBTX().ExecContext(ctx, "UPDATE counters SET n = 5"); err != nil {
				return err
			}
			stmt, err := tx.DBTX().PrepareContext(ctx, "SELECT n FROM counters")
			if err != nil {
				return err
			}
			defer stmt.Close()
			var n int64
			if err := stmt.QueryRowContext(ctx).Scan(&n); n != 5 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
			if n, err := sum(ctx, tx.DBTX(), "SELECT n FROM counters"); n != 5 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
			outside := db.DBTX()
			_, execErr := outside.ExecContext(ctx, "UPDATE counters SET n = 6")
			_, queryErr := outside.QueryContext(ctx, "SELECT n FROM counters")     //nolint:sqlclosecheck // it is refused
			_, prepareErr := outside.PrepareContext(ctx, "SELECT n FROM counters") //nolint:sqlclosecheck // it is refused
			for _, err := range []error{execErr, queryErr, prepareErr, outside.QueryRowContext(ctx, "SELECT n FROM counters").Scan(&n)} {
				if !errors.Is(err, errNested) {
					t.Errorf("%v, want %v", err, errNested)
				}
			}
			return undo
		})
		if !errors.Is(err, undo) {
			t.Fatal(err)
		}
		if n := count(t, db, "SELECT n FROM counters"); n != 0 {
			t.Errorf("n is %d after a rollback", n)
		}
	})
}

// An error that a row returns is the driver's. A conflict among these is tried again like one
// of this package.
func TestDBTXConflictsAreTriedAgain(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		c.QueryTimeout = time.Minute
		db := counters(t, c)
		const writers, each = 4, 10
		var all sync.WaitGroup
		for range writers {
			all.Go(func() {
				for range each {
					err := db.Write(t.Context(), func(ctx context.Context, tx *Tx) error {
						var n int64
						if err := tx.DBTX().QueryRowContext(ctx, "SELECT n FROM counters").Scan(&n); err != nil {
							return err
						}
						return tx.DBTX().QueryRowContext(ctx, "UPDATE counters SET n = $1 RETURNING n", n+1).Scan(&n)
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if n := count(t, db, "SELECT n FROM counters"); n != writers*each {
			t.Errorf("n is %d, want %d", n, writers*each)
		}
	})
}

// Waiting for a connection is bounded by QueryTimeout, though the caller sets no deadline.
func TestDBTXIsBounded(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		c.MaxOpen = 1
		counters(t, c)
		c.QueryTimeout = 20 * time.Millisecond
		if c.URL == "sqlite::memory:" {
			t.Skip("each Open has a database of its own")
		}
		db := open(t, c)
		conn, err := db.SQL().Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		x := db.DBTX()
		const query = "UPDATE counters SET n = 1 RETURNING n"
		_, execErr := x.ExecContext(t.Context(), query)
		_, queryErr := x.QueryContext(t.Context(), query)     //nolint:sqlclosecheck // it is refused
		_, prepareErr := x.PrepareContext(t.Context(), query) //nolint:sqlclosecheck // it is refused
		for _, err := range []error{execErr, queryErr, prepareErr} {
			if !IsUnavailable(err) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v, want an error that says that the database is too slow", err)
			}
		}
		if err := x.QueryRowContext(t.Context(), query).Scan(new(int64)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want %v", err, context.DeadlineExceeded)
		}
	})
}
