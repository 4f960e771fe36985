package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrNotFound is returned by [Row.Scan] when the query gave no row. It is
// sql.ErrNoRows too: errors.Is holds for both.
var ErrNotFound = fmt.Errorf("database: not found: %w", sql.ErrNoRows)

// ErrCommitUnknown is in the error of a [DB.Write] whose connection broke while
// the answer to COMMIT was awaited: the changes are stored completely or not at
// all, and only reading again tells which. [IsUnavailable] holds too; look here
// first where doing the work twice would hurt.
var ErrCommitUnknown = errors.New("the connection broke during commit: unknown whether it is stored")

// class is what a failure means for the caller and for [DB.retry].
type class uint8

const (
	classOther       class = iota // the statement is wrong, or the context was canceled
	classUnavailable              // the server or the disk does not serve now
	classTimeout                  // no answer before the deadline
	classReadOnly                 // connected to a server that no longer writes
	classLost                     // the connection broke
	classConflict                 // PostgreSQL asks to run the transaction again
	classBusy                     // another process holds the lock of the SQLite file
)

// failure is every error of an operation on a database.
type failure struct {
	op    string
	class class
	err   error
}

func (f *failure) Error() string { return "database: " + f.op + ": " + f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func failed(op string, err error) error { return failedAs(classify(err), op, err) }

func failedAs(c class, op string, err error) error { return &failure{op: op, class: c, err: err} }

// scope is where an operation runs.
type scope struct {
	db       *DB
	pool     *sql.DB
	readOnly bool // by our own choice, not for want of a server that writes
	relaxed  bool // commits do not wait for the disk
}

func (db *DB) reading() scope { return scope{db: db, pool: db.reader, readOnly: true} }
func (db *DB) writing() scope { return scope{db: db, pool: db.writer} }

// fail turns what the driver returned into our error. When the time was over it
// says so with the state of the pool, since waiting for a connection and waiting
// for the server look the same from outside.
func (s scope) fail(ctx context.Context, op string, err error) error {
	switch {
	case s.db.closed.Load():
		return failedAs(classUnavailable, op, fmt.Errorf("the database is closed: %w", err))
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		n := s.pool.Stats()
		return failedAs(classTimeout, op, fmt.Errorf("no answer in time (%d of %d connections in use): %w: %w",
			n.InUse, n.MaxOpenConnections, context.DeadlineExceeded, err))
	case ctx.Err() != nil:
		return failedAs(classOther, op, fmt.Errorf("%w: %w", ctx.Err(), err))
	case s.readOnly && refusedWrite(err):
		return failedAs(classOther, op, fmt.Errorf("a statement that writes, where only reading is allowed: use Write: %w", err))
	}
	return failed(op, err)
}

// refusedWrite holds for a statement refused because of how the connection or the
// transaction was opened.
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

// IsUnavailable reports whether err came from a database that does not serve now
// but may soon: no connection, broken or closed, shutting down, too slow, too many
// connections, disk full, read-only. The caller's answer is "try again later"
// (HTTP 503). It looks only at errors of this package.
func IsUnavailable(err error) bool { return classOf(err) != classOther }

// IsUnique reports whether err is a violation of a unique constraint or primary
// key, and of which: the name PostgreSQL gives by default, on both engines, such
// as users_email_key for UNIQUE (email) in the table users, and users_pkey for its
// primary key. A unique index on expressions has its own name on both.
func IsUnique(err error) (constraint string, ok bool) {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "23505" {
		return pg.ConstraintName, true
	}
	var lite *sqlite.Error
	if !errors.As(err, &lite) {
		return "", false
	}
	switch lite.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE:
		return sqliteConstraint(lite.Error(), "key"), true
	case sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return sqliteConstraint(lite.Error(), "pkey"), true
	}
	return "", false
}

// IsForeignKey reports whether err is a violation of a foreign key: a row refers to one
// that does not exist, or has been deleted.
func IsForeignKey(err error) bool {
	var pg *pgconn.PgError
	var lite *sqlite.Error
	return errors.As(err, &pg) && pg.Code == "23503" || errors.As(err, &lite) && lite.Code() == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
}

// sqliteConstraint builds the name from the only place where SQLite tells it, the
// end of its message: "UNIQUE constraint failed: users.name, users.realm (2067)".
func sqliteConstraint(message, suffix string) string {
	_, columns, _ := strings.Cut(message, "UNIQUE constraint failed: ")
	columns, _, _ = strings.Cut(columns, " (")
	if index, ok := strings.CutPrefix(columns, "index '"); ok {
		return strings.TrimSuffix(index, "'")
	}
	table, _, _ := strings.Cut(columns, ".")
	if suffix == "pkey" {
		return table + "_pkey"
	}
	var name strings.Builder
	name.WriteString(table)
	for column := range strings.SplitSeq(columns, ", ") {
		name.WriteString("_" + strings.TrimPrefix(column, table+"."))
	}
	return name.String() + "_" + suffix
}

func classify(err error) class {
	var pg *pgconn.PgError
	var dial *pgconn.ConnectError
	var lite *sqlite.Error
	switch {
	case errors.As(err, &dial):
		return classUnavailable
	case errors.As(err, &pg):
		return classifyPostgres(pg.Code)
	case errors.As(err, &lite):
		return classifySQLite(lite.Code())
	case isLost(err):
		return classLost
	}
	return classOther
}

// classifyPostgres reads an SQLSTATE (PostgreSQL documentation, appendix A).
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

// classifySQLite reads an extended result code (sqlite.org/rescode.html).
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

func isLost(err error) bool {
	for _, lost := range []error{driver.ErrBadConn, pgconn.ErrConnClosed, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, lost) {
			return true
		}
	}
	var network *net.OpError
	return errors.As(err, &network)
}

// notStored holds when a failed COMMIT has surely stored nothing: it was never
// sent, or the server answered it with a refusal.
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
