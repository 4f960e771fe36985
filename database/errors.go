package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrNotFound is wrapped by the error of [Row.Scan] if the query returned no row. It wraps
// sql.ErrNoRows.
var ErrNotFound = fmt.Errorf("database: not found: %w", sql.ErrNoRows)

// ErrCommitUnknown is wrapped by the error of a transaction, for example of [DB.Write] or
// [DB.Batch], if it is unknown whether the transaction was committed, usually because the
// connection broke before the response to COMMIT arrived. The changes are stored completely or not
// at all; reading is the only way to find out. [IsUnavailable] is true for such an error, unless the
// context of the operation was canceled; test for ErrCommitUnknown first if the work must not be done
// twice.
var ErrCommitUnknown = errors.New("it is unknown whether the transaction was committed")

// class is the class of a failure. It determines the result of [IsUnavailable] and whether
// [DB.retry] retries the operation.
type class uint8

const (
	classOther       class = iota // other causes: an invalid statement, a canceled context
	classUnavailable              // the server or the disk is unavailable
	classTimeout                  // no response before the deadline
	classReadOnly                 // connected to a server that is read-only
	classLost                     // the connection broke
	classConflict                 // the transaction conflicts with another one: run it again
	classBusy                     // another process holds the lock of the SQLite file
)

// failure is the error of an operation on a database.
type failure struct {
	op    string
	class class
	err   error
}

func (f *failure) Error() string { return "database: " + f.op + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// Unavailable reports whether the operation has stored nothing because the database was
// unavailable, or because of a conflict or a lock. It returns false after a timeout and for
// [ErrCommitUnknown]. If it returns true, a chassi service returns the code Unavailable (HTTP 503)
// for the error. After a timeout the service returns DeadlineExceeded (504).
func (f *failure) Unavailable() bool {
	return f.class != classOther && f.class != classTimeout && !errors.Is(f.err, ErrCommitUnknown)
}

// InvalidArgument reports whether the database refused a string because it contains a NUL character
// or is not valid UTF-8. If it returns true, a chassi service returns the code InvalidArgument
// (HTTP 400) for the error.
func (f *failure) InvalidArgument() bool {
	pg, ok := errors.AsType[*pgconn.PgError](f.err)
	return errors.Is(f.err, errInvalidText) || ok && (pg.Code == "22021" || pg.Code == "22P05")
}

// errInvalidText is the error of SQLite connections for strings that PostgreSQL does not store, so
// that a service behaves the same on both.
var errInvalidText = errors.New("the string contains NUL or is not valid UTF-8: use []byte and a column of type BLOB or BYTEA for such data")

func failed(op string, err error) error {
	c := classify(err)
	if c == classTimeout && !errors.Is(err, context.DeadlineExceeded) { // of the server: statement_timeout
		err = fmt.Errorf("%w: %w", context.DeadlineExceeded, err)
	}
	return failedAs(c, op, err)
}

func failedAs(c class, op string, err error) error { return &failure{op: op, class: c, err: err} }

// scope is the pool that an operation runs on, and the options of the operation.
type scope struct {
	db       *DB
	pool     *sql.DB
	readOnly bool // the operation only reads, even if the server permits writes
	relaxed  bool // commits do not wait for the disk
	shared   bool // READ COMMITTED instead of serializable
}

func (db *DB) reading() scope { return scope{db: db, pool: db.reader, readOnly: true} }
func (db *DB) writing() scope { return scope{db: db, pool: db.writer} }

// fail returns the failure for err, an error of the driver. After a timeout, the text of the
// failure includes the number of connections in use, because the driver returns the same error for
// waiting for a connection and for waiting for the server.
func (s scope) fail(ctx context.Context, op string, err error) error {
	switch {
	case s.db.closed.Load():
		return failedAs(classUnavailable, op, fmt.Errorf("the database is closed: %w", err))
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		n := s.pool.Stats()
		return failedAs(classTimeout, op, fmt.Errorf("not completed in time (%d of %d connections in use): %w: %w",
			n.InUse, n.MaxOpenConnections, context.DeadlineExceeded, err))
	case ctx.Err() != nil:
		return failedAs(classOther, op, fmt.Errorf("%w: %w", ctx.Err(), err))
	case s.readOnly && refusedWrite(err) && s.db.target.path != "" && s.db.target.access == accessReadOnly:
		return failedAs(classOther, op, fmt.Errorf("a statement writes, but the database file is open only for reading: %w", err))
	case s.readOnly && refusedWrite(err):
		return failedAs(classOther, op, fmt.Errorf("a statement writes on a read-only connection or transaction; use Write: %w", err))
	}
	return failed(op, err)
}

// refusedWrite reports whether err means that a statement failed because the connection or the
// transaction is read-only.
func refusedWrite(err error) bool {
	var pg *pgconn.PgError
	var lite *sqlite.Error
	return errors.As(err, &pg) && pg.Code == "25006" || errors.As(err, &lite) && lite.Code() == sqlite3.SQLITE_READONLY
}

func classOf(err error) class {
	if f, ok := errors.AsType[*failure](err); ok {
		return f.class
	}
	return classOther
}

// IsUnavailable reports whether err is an error of this package that means that the database cannot
// perform the operation at the moment. Possible causes are a missing or broken connection, a closed
// DB, a shutdown of the server, a timeout, too many connections, a full disk, a read-only server or
// file, a conflict that was not resolved by retries (serialization failure or deadlock), and a
// lock, such as that of another process on the SQLite file. It returns false for errors of other
// packages.
//
// If an endpoint returns such an error, wrapped or not, a chassi service responds with the code
// Unavailable (HTTP 503), or with DeadlineExceeded (504) after a timeout. It does not respond with
// Unavailable for [ErrCommitUnknown], because a retry may do the work twice.
func IsUnavailable(err error) bool { return classOf(err) != classOther }

// IsUnique reports whether err means that a statement violated a unique constraint, a unique index
// or a primary key. It does not report which constraint was violated, because SQLite has no code
// for that; if that matters, query the conflicting row.
func IsUnique(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code == "23505"
	}
	if lite, ok := errors.AsType[*sqlite.Error](err); ok {
		return lite.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || lite.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY ||
			lite.Code() == sqlite3.SQLITE_CONSTRAINT_ROWID
	}
	return false
}

// IsForeignKey reports whether err means that a statement violated a foreign key constraint: a row
// would refer to a row that does not exist.
func IsForeignKey(err error) bool {
	var pg *pgconn.PgError
	var lite *sqlite.Error
	return errors.As(err, &pg) && pg.Code == "23503" || errors.As(err, &lite) && lite.Code() == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
}

// classify returns the class of an error of a driver.
func classify(err error) class {
	var pg *pgconn.PgError
	var dial *pgconn.ConnectError
	var lite *sqlite.Error
	switch {
	case errors.As(err, &dial):
		return classUnavailable
	case errors.As(err, &pg):
		// The table of a prepared statement has changed. pgx prepares it again the next time
		// (PostgreSQL's plancache.c; the code alone stands for other things too).
		if pg.Code == "0A000" && pg.Routine == "RevalidateCachedQuery" {
			return classConflict
		}
		return classifyPostgres(pg.Code)
	case errors.As(err, &lite):
		return classifySQLite(lite.Code())
	case isLost(err):
		return classLost
	}
	return classOther
}

// classifyPostgres returns the class of an SQLSTATE (PostgreSQL documentation, appendix A).
func classifyPostgres(code string) class {
	switch code {
	case "40001", "40P01": // serialization_failure, deadlock_detected
		return classConflict
	case "57P01", "57P02", "57P05", "25P03": // shutdown, crash, idle too long
		return classLost
	case "25006":
		return classReadOnly
	case "57014": // query_canceled: statement_timeout
		return classTimeout
	case "57P03", "55P03": // starting up, lock not available
		return classUnavailable
	}
	switch code[:min(2, len(code))] {
	case "08":
		return classLost
	case "53", "58": // insufficient resources, system error
		return classUnavailable
	}
	return classOther
}

// classifySQLite returns the class of an extended result code (sqlite.org/rescode.html).
func classifySQLite(code int) class {
	switch code & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return classBusy
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN,
		sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL:
		return classUnavailable
	}
	return classOther
}

// isLost reports whether err means that the connection broke.
func isLost(err error) bool {
	for _, lost := range []error{driver.ErrBadConn, pgconn.ErrConnClosed, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, lost) {
			return true
		}
	}
	var network *net.OpError
	return errors.As(err, &network)
}

// notStored reports whether err, the error of a COMMIT or of a batch or statement that commits by
// itself, means that nothing was stored, because nothing was sent or the database rejected it.
func notStored(err error) bool {
	if errors.Is(err, sql.ErrTxDone) || errors.Is(err, pgx.ErrTxCommitRollback) || pgconn.SafeToRetry(err) {
		return true
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return classifyPostgres(pg.Code) != classLost
	}
	var lite *sqlite.Error
	return errors.As(err, &lite) && lite.Code()&0xff != sqlite3.SQLITE_IOERR
}
