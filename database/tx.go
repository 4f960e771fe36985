package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Tx is a running transaction. It is for one goroutine, and only inside the
// function that was given it.
type Tx struct {
	scope    scope
	tx       *sql.Tx
	deadline time.Time
}

// Write runs fn in a serializable transaction and stores its changes if it
// returns nil; on an error, a panic or the end of ctx nothing is stored.
//
// fn may run more than once: when PostgreSQL reports a conflict with another
// transaction, when a connection breaks before the commit, and when another
// process locks the SQLite file. So fn must reset what it collects, must have no
// effect outside of tx, and must wrap errors of tx with %w. A conflict is tried
// at most 100 times, and all tries share the time of one call.
//
// SQLite has one writer: writers wait for each other, so keep fn short. Calling
// db inside fn instead of tx is refused, since it could wait for itself.
func (db *DB) Write(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	return db.transact(ctx, db.writing(), fn)
}

// WriteRelaxed is [DB.Write] without waiting for the disk, for changes that nobody
// was promised: counters, times last seen. A crash of the process loses nothing;
// one of the machine, or of the PostgreSQL server, may lose what was committed in
// the last moments, as a whole and in order.
func (db *DB) WriteRelaxed(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	s := db.writing()
	s.relaxed = true
	return db.transact(ctx, s, fn)
}

// Read runs fn in a transaction that can only read and sees one state of the
// database throughout. As with [DB.Write], fn may run more than once.
func (db *DB) Read(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	return db.transact(ctx, db.reading(), fn)
}

// options ask PostgreSQL for what SQLite gives by having one writer and snapshots.
func (s scope) options() *sql.TxOptions {
	switch {
	case s.db.target.dialect == SQLite:
		return &sql.TxOptions{ReadOnly: s.readOnly}
	case s.readOnly:
		return &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead}
	}
	return &sql.TxOptions{Isolation: sql.LevelSerializable}
}

func (db *DB) transact(ctx context.Context, s scope, fn func(context.Context, *Tx) error) error {
	if err := db.refuseNested(ctx, "begin"); err != nil {
		return err
	}
	ctx, cancel := db.bound(ctx)
	defer cancel()
	return s.wrote(db.retry(ctx, func() error { return s.once(ctx, fn) }))
}

// wrote lets [DB.Check] know of a transaction that was stored.
func (s scope) wrote(err error) error {
	if err == nil && !s.readOnly {
		s.db.health.wroteCall(!s.relaxed)
	}
	return err
}

func (s scope) once(ctx context.Context, fn func(context.Context, *Tx) error) error {
	if err := s.db.requireSameFile("begin"); err != nil {
		return err
	}
	end := s.db.trace(ctx, "BEGIN")
	sqlTx, err := s.begin(ctx)
	if err != nil {
		err = s.fail(ctx, "begin", err)
		ended(end, err)
		return err
	}
	ended(end, nil)
	// Without effect after a commit; runs when fn panics, too.
	defer func() { _ = sqlTx.Rollback() }()
	deadline, _ := ctx.Deadline()
	tx := &Tx{scope: s, tx: sqlTx, deadline: deadline}
	if err := fn(context.WithValue(ctx, nestedKey{s.db}, true), tx); err != nil {
		end := s.db.trace(ctx, "ROLLBACK")
		_ = sqlTx.Rollback() // without effect where the end of ctx has done it
		ended(end, nil)
		return err
	}
	end = s.db.trace(ctx, "COMMIT")
	err = tx.commit(ctx)
	ended(end, err)
	return err
}

// relaxedKey marks the context in which a relaxed transaction of SQLite begins.
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

// Query runs a query in the transaction. Close the rows before the next statement:
// PostgreSQL allows one at a time.
func (tx *Tx) Query(ctx context.Context, query string, args ...any) (*Rows, error) {
	ctx, cancel := tx.bound(ctx)
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

// QueryRow is [Tx.Query] for the first row; its error comes from [Row.Scan].
func (tx *Tx) QueryRow(ctx context.Context, query string, args ...any) *Row {
	rows, err := tx.Query(ctx, query, args...)
	return &Row{rows: rows, err: err}
}

// Exec runs one statement and returns the number of rows it changed.
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
	return result.RowsAffected()
}

// bound gives ctx the deadline of the transaction, for the case that it is not the
// one fn was given.
func (tx *Tx) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if d, ok := ctx.Deadline(); ok && !d.After(tx.deadline) {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, tx.deadline)
}

// nestedKey marks the context of a transaction of db.
type nestedKey struct{ db *DB }

var errNested = errors.New("called inside Read or Write of the same database: use its tx")

func (db *DB) refuseNested(ctx context.Context, op string) error {
	if ctx.Value(nestedKey{db}) != nil {
		return failedAs(classOther, op, errNested)
	}
	return nil
}
