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
	accessExisting                // read and write; the file must exist
	accessReadOnly                // read only; the file must exist
	accessUncreated               // read and write; DB.Create creates the missing file
)

// OpenExisting opens the database at c.URL, as [Open] does. If the SQLite file is missing, it
// creates nothing and returns an error that wraps [ErrMissing].
func OpenExisting(ctx context.Context, c Config) (*DB, error) {
	return openWith(ctx, c, accessExisting)
}

// OpenReadOnly opens the SQLite file at c.URL for reading. The file must exist: otherwise
// OpenReadOnly returns an error that wraps [ErrMissing]. Statements that write fail, and the data,
// journal mode and permissions of the file are not changed. If a killed process has left a write-ahead
// log, SQLite may move the committed changes from the log to the file. For PostgreSQL, where the
// permissions of the user apply, and for SQLite in memory, OpenReadOnly does the same as [Open].
func OpenReadOnly(ctx context.Context, c Config) (*DB, error) {
	return openWith(ctx, c, accessReadOnly)
}

// OpenUncreated opens the database at c.URL without creating a missing SQLite file, for a program
// that makes other checks before it creates anything. It returns an error if the directory does not
// permit the creation of the file. [DB.Create] creates the file; until then, statements fail. If
// nothing has to be created, OpenUncreated does the same as [Open].
func OpenUncreated(ctx context.Context, c Config) (*DB, error) {
	return openWith(ctx, c, accessUncreated)
}

// Create creates the missing SQLite file of a database that was opened by [OpenUncreated]. It
// returns an error if the file cannot be created or used. For any other database, and after it has
// succeeded, Create is a no-op.
func (db *DB) Create(ctx context.Context) error {
	if !db.uncreated() {
		return nil
	}
	if err := createFile(db.target.path); err != nil {
		return err
	}
	return db.checkFile(ctx)
}

// uncreated reports whether [DB.Create] has yet to create the SQLite file.
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

// openSQLiteReadOnly opens an existing SQLite file with a single pool, whose connections can only
// read.
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

// Checkpoint copies the write-ahead log of a SQLite database into the database file, except for
// changes that must wait for active readers. It does not block readers or writers. For PostgreSQL,
// for SQLite in memory, and before [DB.Create], Checkpoint is a no-op.
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
