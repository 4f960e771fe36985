package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Tx is a running transaction. It may be used only by the function that received it, and only by
// one goroutine at a time.
type Tx struct {
	scope    scope
	tx       *sql.Tx
	deadline time.Time
	stores   bool // a statement that inserts or updates rows has run
	after    []func()
}

// Write calls fn in a serializable transaction and commits the transaction if fn returns nil. If fn
// returns an error, Write returns that error. Nothing is stored if fn returns an error or panics,
// or if ctx is done before the commit. If Write returns an error that wraps [ErrCommitUnknown], it is
// unknown whether the changes are stored.
//
// Write may call fn more than once: if PostgreSQL reports a conflict with another transaction, if a
// connection breaks before the commit, or if another process locks the SQLite file. Therefore, fn
// must reset variables that it fills, must have no effects outside tx, and must wrap errors of tx
// with %w. Write returns the error of a conflict after 100 attempts, and the error of a broken
// connection after 5. All attempts share the timeout of one call.
//
// SQLite has one writer: writers wait for each other, so keep fn short. Inside fn, use tx: methods
// of db that are called with the context of fn return an error, because they could deadlock.
func (db *DB) Write(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	return db.transact(ctx, db.writing(), fn)
}

// WriteRelaxed calls fn in a transaction, as [DB.Write] does, but does not wait until the commit is
// on the disk. It is for changes that may be lost, such as counters and times of last use. A crash
// of the process loses nothing. A crash of the machine or of the PostgreSQL server may lose the
// latest transactions. Each of them is lost as a whole, and no transaction is lost that was
// committed before one that is kept.
func (db *DB) WriteRelaxed(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	s := db.writing()
	s.relaxed = true
	return db.transact(ctx, s, fn)
}

// WriteShared calls fn in a transaction, as [DB.Write] does, but on PostgreSQL the isolation level
// is READ COMMITTED, at which each statement sees what was committed before the statement began. It
// is for queues and leases, whose statements claim rows with FOR UPDATE SKIP LOCKED or by
// conditions on single rows. Such a transaction neither fails because of a serializable transaction
// nor causes one to fail, unless both write the same row. On SQLite, WriteShared does the same as
// Write.
func (db *DB) WriteShared(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	s := db.writing()
	s.shared = true
	return db.transact(ctx, s, fn)
}

// Read calls fn in a read-only transaction that sees one snapshot of the database. If fn returns an
// error, Read returns that error. Like [DB.Write], Read may call fn more than once.
func (db *DB) Read(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	return db.transact(ctx, db.reading(), fn)
}

// options returns the options of a transaction. On PostgreSQL, their isolation level provides the
// guarantees that SQLite provides with a single writer and snapshots, except in a shared scope,
// where it is READ COMMITTED.
func (s scope) options() *sql.TxOptions {
	switch {
	case s.db.target.dialect == SQLite:
		return &sql.TxOptions{ReadOnly: s.readOnly}
	case s.readOnly:
		return &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead}
	}
	return &sql.TxOptions{Isolation: s.isolation()}
}

// isolation returns the isolation level of a transaction that writes to PostgreSQL.
func (s scope) isolation() sql.IsolationLevel {
	if s.shared {
		return sql.LevelReadCommitted
	}
	return sql.LevelSerializable
}

func (db *DB) transact(ctx context.Context, s scope, fn func(context.Context, *Tx) error) error {
	if err := db.refuseNested(ctx, "begin"); err != nil {
		return err
	}
	ctx, cancel := db.bound(ctx)
	defer cancel()
	stored := false
	err := db.retry(ctx, func() (err error) {
		stored, err = s.once(ctx, fn)
		return err
	})
	if err == nil && stored {
		db.health.wroteCall(!s.relaxed)
	}
	return err
}

// takesSpace reports whether the success of a statement shows that data can be stored. It returns
// false for SELECT, which also succeeds without permission to write, and for DELETE, which also
// succeeds on a full disk.
func takesSpace(query string) bool {
	operation, _ := summarize(query)
	return operation != "SELECT" && operation != "DELETE"
}

// once makes one attempt of the transaction. It reports whether a statement that inserts or updates
// rows has run.
func (s scope) once(ctx context.Context, fn func(context.Context, *Tx) error) (stored bool, err error) {
	if err := s.db.requireSameFile("begin"); err != nil {
		return false, err
	}
	end := s.db.trace(ctx, "BEGIN")
	sqlTx, err := s.begin(ctx)
	if err != nil {
		err = s.fail(ctx, "begin", err)
		ended(end, err)
		return false, err
	}
	ended(end, nil)
	// A no-op after a commit. It also runs if fn panics.
	defer func() { _ = sqlTx.Rollback() }()
	deadline, _ := ctx.Deadline()
	tx := &Tx{scope: s, tx: sqlTx, deadline: deadline}
	if err := fn(context.WithValue(ctx, nestedKey{s.db}, true), tx); err != nil {
		end := s.db.trace(ctx, "ROLLBACK")
		_ = sqlTx.Rollback() // a no-op if the end of ctx has rolled back
		ended(end, nil)
		return false, s.ofDriver(ctx, err)
	}
	end = s.db.trace(ctx, "COMMIT")
	err = tx.commit(ctx)
	ended(end, err)
	if err == nil {
		for _, f := range tx.after {
			f()
		}
	}
	return tx.stores, err
}

// ofDriver converts an error of the driver to an error of this package, so that a transaction that
// failed because of a conflict is retried. A function that uses [Tx.DBTX] may return such an
// error. ofDriver returns any other error unchanged.
func (s scope) ofDriver(ctx context.Context, err error) error {
	if _, ok := errors.AsType[*failure](err); ok || classify(err) == classOther {
		return err
	}
	return s.fail(ctx, "transaction", err)
}

// relaxedKey is the context key that marks a SQLite transaction as relaxed when it begins.
type relaxedKey struct{}

func (s scope) begin(ctx context.Context) (*sql.Tx, error) {
	if s.db.target.dialect == SQLite {
		if s.relaxed {
			ctx = context.WithValue(ctx, relaxedKey{}, true)
		}
		return s.pool.BeginTx(ctx, s.options())
	}
	tx, err := s.pool.BeginTx(ctx, s.options())
	if err != nil {
		return nil, err
	}
	if settings := s.settings(); len(settings) > 0 {
		if _, err := tx.ExecContext(ctx, strings.Join(settings, ";")); err != nil {
			return nil, errors.Join(err, tx.Rollback())
		}
	}
	return tx, nil
}

func (tx *Tx) commit(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return tx.scope.fail(ctx, "commit", err)
	}
	err := tx.tx.Commit()
	if err == nil {
		return nil
	}
	if notStored(err) {
		return tx.scope.fail(ctx, "commit", err)
	}
	return failedAs(classUnavailable, "commit", fmt.Errorf("%w: %w", ErrCommitUnknown, err))
}

// OnCommit registers f to be called after the transaction has been committed, before [DB.Write]
// returns. f is not called if the transaction was rolled back or if it is unknown whether it was
// committed. f must not block. [Tx.DBTX] returns a value that has the same method.
func (tx *Tx) OnCommit(f func()) { tx.after = append(tx.after, f) }

// Query runs a query in the transaction and returns its rows. The caller must close the rows before
// the next statement, because PostgreSQL permits one statement at a time.
func (tx *Tx) Query(ctx context.Context, query string, args ...any) (*Rows, error) {
	ctx, cancel := tx.bound(ctx)
	tx.stores = tx.stores || takesSpace(query)
	end := tx.scope.db.trace(ctx, query)
	rows, err := tx.tx.QueryContext(ctx, query, args...)
	if err != nil {
		defer cancel()
		err = tx.scope.fail(ctx, "query", err)
		ended(end, err)
		return nil, err
	}
	return &Rows{scope: tx.scope, ctx: ctx, cancel: cancel, rows: rows, end: end}, nil
}

// QueryRow runs a query in the transaction and returns its first row. [Row.Scan] returns any error
// of the query.
func (tx *Tx) QueryRow(ctx context.Context, query string, args ...any) *Row {
	rows, err := tx.Query(ctx, query, args...)
	return &Row{rows: rows, err: err}
}

// Exec runs one statement in the transaction and returns the number of changed rows.
func (tx *Tx) Exec(ctx context.Context, query string, args ...any) (affected int64, err error) {
	ctx, cancel := tx.bound(ctx)
	defer cancel()
	end := tx.scope.db.trace(ctx, query)
	result, err := tx.tx.ExecContext(ctx, query, args...)
	if err != nil {
		err = tx.scope.fail(ctx, "exec", err)
		ended(end, err)
		return 0, err
	}
	ended(end, nil)
	affected, err = result.RowsAffected()
	tx.stores = tx.stores || affected > 0 && takesSpace(query)
	return affected, err
}

// bound returns ctx with the deadline of the transaction, in case ctx is not derived from the
// context passed to fn.
func (tx *Tx) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if d, ok := ctx.Deadline(); ok && !d.After(tx.deadline) {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, tx.deadline)
}

// nestedKey is the context key that marks a context as belonging to a transaction of db.
type nestedKey struct{ db *DB }

var errNested = errors.New("called inside Read or Write of the same database; use the transaction of that call")

func (db *DB) refuseNested(ctx context.Context, op string) error {
	if ctx.Value(nestedKey{db}) != nil {
		return failedAs(classOther, op, errNested)
	}
	return nil
}
