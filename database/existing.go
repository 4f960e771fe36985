package database

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// ErrMissing is in the error of [OpenExisting] and [OpenReadOnly] for a SQLite file that
// does not exist.
var ErrMissing = errors.New("the database file does not exist")

// access is what may be done to a SQLite file.
type access uint8

const (
	accessCreate   access = iota // create it if it is missing, read, write
	accessExisting               // read, write
	accessReadOnly               // read
)

// OpenExisting is [Open] for a database that must exist: a missing SQLite file is
// [ErrMissing], and nothing is created.
func OpenExisting(ctx context.Context, c Config) (*DB, error) {
	return openWith(ctx, c, accessExisting)
}

// OpenReadOnly is [OpenExisting] for a program that only reads. On SQLite the file's
// content, journal mode and rights stay as they are, and statements that write are
// refused. On PostgreSQL it is the same as Open: the rights of the user decide there.
func OpenReadOnly(ctx context.Context, c Config) (*DB, error) {
	return openWith(ctx, c, accessReadOnly)
}

// requireFile returns [ErrMissing] for a path with nothing there.
func requireFile(path string) error {
	_, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return failedAs(classOther, "open", fmt.Errorf("%w: %s", ErrMissing, path))
	case err != nil:
		return failed("open", err)
	}
	return nil
}

// openSQLiteReadOnly opens one pool for reading, without a writer.
func openSQLiteReadOnly(ctx context.Context, c Config, t target) (*DB, error) {
	pool, err := sqlitePool(t.sqliteReader())
	if err != nil {
		return nil, err
	}
	configure(pool, c)
	db := &DB{config: c, target: t, reader: pool, writer: pool}
	var tables int64
	if err := db.QueryRow(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		_ = db.Close() // what the query found is what matters
		return nil, fmt.Errorf("%w (opening %s)", err, t)
	}
	return db, nil
}

// Checkpoint copies what the write-ahead log of a SQLite file holds into the file, as
// far as no reader needs it, without waiting for anybody. Elsewhere it does nothing.
func (db *DB) Checkpoint(ctx context.Context) error {
	if db.target.dialect != SQLite || db.target.path == "" {
		return nil
	}
	ctx, cancel := db.bound(ctx)
	defer cancel()
	var busy, inLog, copied int64
	row := db.writer.QueryRowContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)")
	if err := row.Scan(&busy, &inLog, &copied); err != nil {
		return db.writing().fail(ctx, "checkpoint", err)
	}
	return nil
}
