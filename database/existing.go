package database

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// ErrMissing is wrapped by the errors of [OpenExisting], [OpenReadOnly], [Copy] and [InUse] if the
// SQLite file does not exist.
var ErrMissing = errors.New("the database file does not exist")

// access is the mode in which a SQLite file is opened.
type access uint8

const (
	accessCreate    access = iota // read and write; opening creates a missing file
	accessExisting                // read and write
	accessReadOnly                // read
	accessUncreated               // read and write; DB.Create creates the missing file
)

// OpenExisting is [Open] for a database that must exist. If the SQLite file is missing, it creates
// nothing and returns an error that wraps [ErrMissing].
func OpenExisting(ctx context.Context, c Config) (*DB, error) {
	return openWith(ctx, c, accessExisting)
}

// OpenReadOnly is [OpenExisting] for a program that only reads. On SQLite it does not change the
// file's content, journal mode or permissions, and statements that write fail. On PostgreSQL it
// is the same as Open: the permissions of the user apply.
func OpenReadOnly(ctx context.Context, c Config) (*DB, error) {
	return openWith(ctx, c, accessReadOnly)
}

// OpenUncreated is [Open] for a program that makes other checks before it creates anything: it does
// not create a missing SQLite file, but checks that the directory permits its creation. [DB.Create]
// creates the file; until then statements fail.
func OpenUncreated(ctx context.Context, c Config) (*DB, error) {
	return openWith(ctx, c, accessUncreated)
}

// Create creates the missing SQLite file of a database that [OpenUncreated] has opened. For any
// other database, and after it has succeeded, Create is a no-op.
func (db *DB) Create(ctx context.Context) error {
	if !db.uncreated() {
		return nil
	}
	if err := createFile(db.target.path); err != nil {
		return err
	}
	return db.checkFile(ctx)
}

// uncreated reports whether Create has to create the file.
func (db *DB) uncreated() bool {
	return db.target.access == accessUncreated && db.opened.Load() == nil
}

// requireFile returns an error that wraps [ErrMissing] if no file exists at path, and another error
// if the file cannot be examined.
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

// openSQLiteReadOnly opens an existing file with a single pool, whose connections only read.
func openSQLiteReadOnly(ctx context.Context, c Config, t target) (*DB, error) {
	pool, err := sqlitePool(t.sqliteReader())
	if err != nil {
		return nil, err
	}
	configure(pool, c)
	db := &DB{config: c, target: t, reader: pool, writer: pool}
	var tables int64
	if err := db.QueryRow(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		_ = db.Close() // the error of the query is returned
		return nil, fmt.Errorf("%w (opening %s)", err, t)
	}
	return db, nil
}

// Checkpoint copies the write-ahead log of a SQLite file into the file, except for pages that
// readers still need. It does not block readers or writers. For other databases it is a no-op.
func (db *DB) Checkpoint(ctx context.Context) error {
	if db.target.dialect != SQLite || db.target.path == "" || db.uncreated() {
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
