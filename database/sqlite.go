package database

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
)

// sqliteCommon contains the parameters of every connection of a DB. busy_timeout, in ms, is how
// long SQLite waits for the lock of another process. It is short, because a context cannot cancel a
// wait inside SQLite; [DB.retry] tries again. _dqs=0 makes a string in double quotes an error, as in
// PostgreSQL.
const sqliteCommon = "_dqs=0&_pragma=busy_timeout(50)&_pragma=foreign_keys(1)"

func openSQLite(ctx context.Context, c Config, t target) (*DB, error) {
	db := &DB{config: c, target: t}
	if err := db.prepareSQLite(ctx); err != nil {
		return nil, err
	}
	if t.path != "" && t.access == accessReadOnly {
		return openSQLiteReadOnly(ctx, c, t)
	}
	reader, err := sqlitePool(db.target.sqliteReader())
	if err != nil {
		return nil, err
	}
	writer, err := sqlitePool(db.target.sqliteWriter())
	if err != nil {
		return nil, err
	}
	configure(reader, c)
	writer.SetMaxOpenConns(1)
	db.reader, db.writer = reader, writer
	if db.uncreated() {
		return db, nil
	}
	if err := db.checkFile(ctx); err != nil {
		_ = db.Close() // the error of the check is returned
		return nil, err
	}
	return db, nil
}

// checkFile returns an error if the database cannot be used. Otherwise it records the state of the
// database file for [DB.requireSameFile].
func (db *DB) checkFile(ctx context.Context) error {
	if err := db.lockable(ctx); err != nil {
		return fmt.Errorf("%w (opening %s)", err, db.target)
	}
	if db.target.path == "" {
		return nil
	}
	info, err := os.Stat(db.target.path)
	if err != nil {
		return failed("open", err)
	}
	db.opened.Store(&info)
	return nil
}

// lockable returns an error if the file is not a database or cannot be written. A full disk is
// not an error.
func (db *DB) lockable(ctx context.Context) error {
	ctx, cancel := db.bound(ctx)
	defer cancel()
	return db.rerun(ctx, func() error { return db.checkSQLite(ctx, false) })
}

// prepareSQLite prepares the file for the access mode: it creates a missing file, checks that its
// directory permits the creation, or checks that the file exists. For a database in memory it opens
// the connection that keeps the data alive.
func (db *DB) prepareSQLite(ctx context.Context) error {
	switch {
	case db.target.path != "" && db.target.access == accessCreate:
		return createFile(db.target.path)
	case db.target.access == accessUncreated:
		return tryDirectory(db.target.path)
	case db.target.path != "":
		return requireFile(db.target.path)
	}
	db.target.memory = rand.Text()
	db.memoryLock = make(chan struct{}, 1)
	connector, err := sqlite.NewConnector(db.target.sqliteWriter())
	if err != nil {
		return failed("open", err)
	}
	// Data in memory exists while a connection to it is open: this one.
	anchor, err := connector.Connect(ctx)
	if err != nil {
		return failed("open", err)
	}
	db.release = anchor.Close
	return nil
}

// createFile creates an empty file for SQLite at path with mode 0600; SQLite uses the same mode for
// the files beside it. If the file exists, createFile returns nil without opening the file, because
// closing the file would release the locks that this process holds on it.
func createFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, fs.ErrExist):
		return nil
	}
	return notCreated(path, err)
}

// exists reports whether a file or a link exists at path.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// tryDirectory returns the error with which createFile would fail, or nil. To find out, it creates
// and removes a temporary file in the directory of path.
func tryDirectory(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return notCreated(path, err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// notCreated returns the error for the file at path whose creation failed with err.
func notCreated(path string, err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		err = &fs.PathError{Op: pathErr.Op, Path: path, Err: pathErr.Err}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("database: open: directory %s does not exist; create it or change database.url: %w", filepath.Dir(path), err)
	}
	return failedAs(classUnavailable, "open", fmt.Errorf("cannot create the file; check the permissions and free space of its directory: %w", err))
}

func sqlitePool(dsn string) (*sql.DB, error) {
	connector, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, failed("open", err)
	}
	return sql.OpenDB(cachingConnector{connector}), nil
}

// sqliteWriter returns the data source name of the connection that writes. Transactions acquire the
// write lock when they begin, so that no transaction fails at its end because of another one. A
// database in memory has no write-ahead log, so its transactions also exclude readers.
func (t target) sqliteWriter() string {
	if t.path == "" {
		return t.sqliteFile() + sqliteCommon + "&vfs=memdb&_txlock=exclusive"
	}
	return t.sqliteFile() + sqliteCommon + "&_txlock=immediate&_pragma=journal_mode(wal)&_pragma=synchronous(full)"
}

func (t target) sqliteReader() string {
	dsn := t.sqliteFile() + sqliteCommon + "&_pragma=query_only(1)"
	if t.path == "" {
		dsn += "&vfs=memdb"
	}
	return dsn
}

func (t target) sqliteFile() string {
	path := t.path
	if path == "" {
		path = "/" + t.memory // with the slash, connections share the database
	}
	uri := "file:" + (&url.URL{Path: path}).EscapedPath() + "?"
	if t.access != accessCreate && t.path != "" {
		uri += "mode=rw&" // not c, for create
	}
	return uri
}
