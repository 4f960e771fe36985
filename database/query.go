package database

import (
	"context"
	"database/sql"
	"errors"

	"github.com/chassi-go/chassi/calltrace"
)

// Querier is what [DB] and [Tx] have in common, for code that runs inside a
// transaction as well as outside of one.
type Querier interface {
	Query(ctx context.Context, query string, args ...any) (*Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) *Row
	Exec(ctx context.Context, query string, args ...any) (affected int64, err error)
}

var (
	_ Querier = (*DB)(nil)
	_ Querier = (*Tx)(nil)
)

// Query runs a query that reads; on SQLite one that writes is refused (use
// [DB.Write] for INSERT … RETURNING). The rows must be closed, and are cut off
// when the time of the call is over.
func (db *DB) Query(ctx context.Context, query string, args ...any) (*Rows, error) {
	if err := db.refuseNested(ctx, "query"); err != nil {
		return nil, err
	}
	ctx, cancel := db.bound(ctx)
	rows := &Rows{scope: db.querying(), ctx: ctx, cancel: cancel}
	err := db.retry(ctx, func() (err error) {
		if err := db.requireSameFile("query"); err != nil {
			return err
		}
		rows.end = db.trace(ctx, query)
		rows.rows, err = db.reader.QueryContext(ctx, query, args...)
		return rows.fail(err)
	})
	if err != nil {
		cancel()
		return nil, err
	}
	return rows, nil
}

// QueryRow is [DB.Query] for the first row; its error comes from [Row.Scan].
func (db *DB) QueryRow(ctx context.Context, query string, args ...any) *Row {
	rows, err := db.Query(ctx, query, args...)
	return &Row{rows: rows, err: err}
}

// Exec runs one statement as a [DB.Batch] of its own and returns the number of
// rows it changed.
func (db *DB) Exec(ctx context.Context, query string, args ...any) (affected int64, err error) {
	err = db.Batch(ctx, Statement{SQL: query, Args: args, Affected: &affected})
	return affected, err
}

// querying is the scope of a query outside of a transaction, which PostgreSQL does
// not hinder from writing.
func (db *DB) querying() scope {
	return scope{db: db, pool: db.reader, readOnly: db.target.dialect == SQLite}
}

// bound gives ctx the deadline of one call.
func (db *DB) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, db.config.QueryTimeout)
}

// Rows are the rows of a query: as sql.Rows, with errors of this package. Close
// them in any case.
type Rows struct {
	scope  scope
	ctx    context.Context
	cancel context.CancelFunc
	rows   *sql.Rows
	end    calltrace.End // nil when the call is not recorded, or this was
}

// Next moves to the next row. It is false at the end and on an error: see Err.
func (r *Rows) Next() bool { return r.rows.Next() }

// Scan reads the columns of the row that Next moved to.
func (r *Rows) Scan(dest ...any) error { return r.fail(r.rows.Scan(dest...)) }

// Err returns what ended the rows before their end, or nil.
func (r *Rows) Err() error { return r.fail(r.rows.Err()) }

// Close frees the connection. It may be called more than once.
func (r *Rows) Close() error {
	defer r.cancel()
	if r.end != nil {
		_ = r.Err() // recorded, though nobody may have asked
	}
	err := r.fail(r.rows.Close())
	r.ended(nil)
	return err
}

func (r *Rows) fail(err error) error {
	if err == nil {
		return nil
	}
	err = r.scope.fail(r.ctx, "query", err)
	r.ended(err)
	return err
}

func (r *Rows) ended(err error) {
	ended(r.end, err)
	r.end = nil
}

// Row is the first row of a query.
type Row struct {
	rows *Rows
	err  error
}

// Scan reads the columns and frees the connection. Without a row it returns
// [ErrNotFound]. It must be called, and once.
func (r *Row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	err := r.scan(dest)
	return errors.Join(err, r.rows.Close())
}

func (r *Row) scan(dest []any) error {
	if r.rows.Next() {
		return r.rows.Scan(dest...)
	}
	if err := r.rows.Err(); err != nil {
		return err
	}
	return ErrNotFound
}
