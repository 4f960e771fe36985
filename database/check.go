package database

import (
	"context"
	"errors"
)

// Check asks the database whether it could store something right now, for a
// readiness probe: on SQLite by taking the write lock and letting go of it, on
// PostgreSQL by a query that a read-only server does not pass. It waits no longer
// than any other call, and tells when all connections are in use.
func (db *DB) Check(ctx context.Context) error {
	ctx, cancel := db.bound(ctx)
	defer cancel()
	if db.target.dialect == Postgres {
		return db.retry(ctx, func() error { return db.checkPostgres(ctx) })
	}
	return db.retry(ctx, func() error { return db.checkSQLite(ctx) })
}

func (db *DB) checkSQLite(ctx context.Context) error {
	if err := db.requireSameFile("check"); err != nil {
		return err
	}
	tx, err := db.writer.BeginTx(ctx, nil)
	if err != nil {
		return db.writing().fail(ctx, "check", err)
	}
	if err := tx.Rollback(); err != nil {
		return db.writing().fail(ctx, "check", err)
	}
	return nil
}

// checkPostgres fails on a server that cannot write: a standby, or one that is
// switched to read-only.
func (db *DB) checkPostgres(ctx context.Context) error {
	var readOnly string
	row := db.writer.QueryRowContext(ctx, "SELECT current_setting('transaction_read_only')")
	if err := row.Scan(&readOnly); err != nil {
		return db.writing().fail(ctx, "check", err)
	}
	if readOnly == "on" {
		return failedAs(classReadOnly, "check", errors.New("the server is read-only: a standby, or default_transaction_read_only is on"))
	}
	return nil
}
