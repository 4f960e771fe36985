package database

import (
	"context"
	"database/sql"
	"errors"

	"github.com/chassi-go/chassi/calltrace"
)

// Querier is the interface of the methods that [DB] and [Tx] have in common, for code that runs
// both inside and outside a transaction.
type Querier interface {
	Query(ctx context.Context, query string, args ...any) (*Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) *Row
	Exec(ctx context.Context, query string, args ...any) (affected int64, err error)
}

var (
	_ Querier = (*DB)(nil)
	_ Querier = (*Tx)(nil)
)

// Query runs a query that reads, and returns its rows. The caller must close the rows. The timeout
// of the call includes the time for reading them. On SQLite a query that writes fails; use
// [DB.Write] for INSERT … RETURNING.
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

// QueryRow runs a query, as [DB.Query] does, and returns its first row. [Row.Scan] returns any
// error of the query.
func (db *DB) QueryRow(ctx context.Context, query string, args ...any) *Row {
	rows, err := db.Query(ctx, query, args...)
	return &Row{rows: rows, err: err}
}

// Exec runs one statement in its own transaction, as [DB.Batch] does, and returns the number of
// changed rows.
func (db *DB) Exec(ctx context.Context, query string, args ...any) (affected int64, err error) {
	err = db.Batch(ctx, Statement{SQL: query, Args: args, Affected: &affected})
	return affected, err
}

// querying returns the scope of a query outside a transaction. The scope is read-only on SQLite
// only, because PostgreSQL does not prevent such a query from writing.
func (db *DB) querying() scope {
	return scope{db: db, pool: db.reader, readOnly: db.target.dialect == SQLite}
}

// bound returns ctx with the timeout of one call.
func (db *DB) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, db.config.QueryTimeout)
}

// Rows iterates over the rows of a query, like sql.Rows. Its methods return errors of this package.
// The caller must call Close.
type Rows struct {
	scope  scope
	ctx    context.Context
	cancel context.CancelFunc
	rows   *sql.Rows
	end    calltrace.End // nil if the call is not recorded, or if the end has been recorded
}

// Next advances to the next row. It returns false if there are no more rows or if an error
// occurred, which Err returns.
func (r *Rows) Next() bool { return r.rows.Next() }

// Scan copies the columns of the current row to dest.
func (r *Rows) Scan(dest ...any) error { return r.fail(r.rows.Scan(dest...)) }

// Err returns the error that ended the iteration, or nil.
func (r *Rows) Err() error { return r.fail(r.rows.Err()) }

// Close closes the rows and releases the connection. It may be called more than once.
func (r *Rows) Close() error {
	defer r.cancel()
	if r.end != nil {
		_ = r.Err() // recorded even if the caller does not call Err
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

// Row is the first row of the result of a query.
type Row struct {
	rows *Rows
	err  error
}

// Scan copies the columns of the row to dest and releases the connection. It must be called exactly
// once. If the query returned no row, the error wraps [ErrNotFound].
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
