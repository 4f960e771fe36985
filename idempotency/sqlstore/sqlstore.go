// Package sqlstore stores idempotency keys in a table of SQLite or PostgreSQL.
package sqlstore

import (
	"context"
	_ "embed" // the schema
	"time"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/idempotency"
)

var (
	//go:embed schema/sqlite.sql
	sqliteSchema string
	//go:embed schema/postgres.sql
	postgresSchema string
)

// Schema returns the SQL that creates the table of a [Store], for a migration of the program (see
// [database.DB.Migrate]). The SQL never changes: a later version would add another migration.
func Schema(d database.Dialect) string {
	if d == database.Postgres {
		return postgresSchema
	}
	return sqliteSchema
}

// Store is an [idempotency.Store] in a database. Leases and outcomes expire by the clock of the
// database's machine. A call with a key costs two transactions. Besides the errors of package
// idempotency, methods return those of package database.
type Store struct {
	db                                 *database.DB
	begin, look, finish, deleteExpired string

	// write runs the transaction of Begin. On SQLite it does not wait for the disk, because a crash
	// of the machine also ends the attempt, and later writes of the attempt cannot survive if this
	// one does not.
	write func(context.Context, func(context.Context, *database.Tx) error) error
}

var _ idempotency.Store = (*Store)(nil)

// New returns a Store that stores keys in db. The table of [Schema] must exist before the first
// call of a method.
func New(db *database.DB) *Store {
	now, write := "CAST(unixepoch('subsec') * 1000000 AS INTEGER)", db.WriteRelaxed
	if db.Dialect() == database.Postgres {
		now, write = "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)", db.Write
	}
	return &Store{
		db: db, write: write,
		begin: `INSERT INTO idempotency_keys (id, fingerprint, token, finished, expires_at) VALUES ($1, $2, $3, FALSE, ` + now + ` + $4)
			ON CONFLICT (id) DO UPDATE
			SET fingerprint = excluded.fingerprint, token = excluded.token, finished = FALSE, outcome = NULL, expires_at = excluded.expires_at
			WHERE idempotency_keys.expires_at <= ` + now + ` OR idempotency_keys.token = excluded.token AND NOT idempotency_keys.finished`,
		look:   `SELECT fingerprint = $2, finished, outcome FROM idempotency_keys WHERE id = $1`,
		finish: `UPDATE idempotency_keys SET finished = TRUE, outcome = $3, expires_at = ` + now + ` + $4 WHERE id = $1 AND token = $2`,
		deleteExpired: `DELETE FROM idempotency_keys WHERE id IN
			(SELECT id FROM idempotency_keys WHERE expires_at < ` + now + ` ORDER BY expires_at LIMIT $1)`,
	}
}

// Begin implements [idempotency.Store].
func (s *Store) Begin(ctx context.Context, a idempotency.Attempt, lease time.Duration) (state idempotency.State, outcome []byte, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *database.Tx) error {
		n, err := tx.Exec(ctx, s.begin, a.Key, a.Fingerprint, a.Token, lease.Microseconds())
		if err != nil || n > 0 {
			state, outcome = idempotency.Begun, nil
			return err
		}
		var same, finished bool
		if err := tx.QueryRow(ctx, s.look, a.Key, a.Fingerprint).Scan(&same, &finished, &outcome); err != nil {
			return err
		}
		switch {
		case !same:
			state, outcome = idempotency.Reused, nil
		case finished:
			state = idempotency.Finished
		default:
			state = idempotency.Running
		}
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	return state, outcome, nil
}

// Finish implements [idempotency.Store].
func (s *Store) Finish(ctx context.Context, a idempotency.Attempt, outcome []byte, keep time.Duration) error {
	if len(outcome) > idempotency.MaxOutcome {
		return idempotency.ErrTooLarge
	}
	n, err := s.db.Exec(ctx, s.finish, a.Key, a.Token, outcome, keep.Microseconds())
	if err == nil && n == 0 {
		return idempotency.ErrLost
	}
	return err
}

// Abandon implements [idempotency.Store].
func (s *Store) Abandon(ctx context.Context, a idempotency.Attempt) error {
	return s.db.WriteRelaxed(ctx, func(ctx context.Context, tx *database.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM idempotency_keys WHERE id = $1 AND token = $2 AND NOT finished", a.Key, a.Token)
		return err
	})
}

// batch is the maximum number of rows deleted in one transaction. On SQLite, other writers wait for
// that transaction.
const batch = 1000

// DeleteExpired deletes the leases and outcomes that have expired by the database's clock, in
// batches of a thousand. It returns the number of deleted rows, even if it also returns an error.
func (s *Store) DeleteExpired(ctx context.Context) (deleted int64, err error) {
	for {
		var n int64
		err := s.db.WriteRelaxed(ctx, func(ctx context.Context, tx *database.Tx) (err error) {
			n, err = tx.Exec(ctx, s.deleteExpired, batch)
			return err
		})
		deleted += n
		if err != nil || n < batch {
			return deleted, err
		}
	}
}
