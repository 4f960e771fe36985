package database

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// Statement is an SQL statement with its arguments, for [DB.Batch].
type Statement struct {
	SQL  string
	Args []any

	// Rows, if not nil, reads the rows that the statement returns. Like the function passed to
	// [DB.Write], it may be called more than once. It must not return errors other than those of
	// the cursor.
	Rows func(Cursor) error

	// Affected, if not nil, points to the variable that receives the number of changed rows. On
	// SQLite the variable is not set if Rows is not nil.
	Affected *int64
}

// Cursor iterates over the rows that a statement returns, for [Statement.Rows]. Next advances to
// the next row and reports whether there is one. Scan copies the columns of that row to dest.
type Cursor interface {
	Next() bool
	Scan(dest ...any) error
}

// Batch runs statements in one serializable transaction, as [DB.Write] does, and sends them
// together: on PostgreSQL the whole transaction takes one round trip, or two if the connection has
// not yet prepared one of the statements. No statement can therefore depend on the result of an
// earlier one. If a statement fails, nothing is stored and Batch returns an error. Without
// statements, Batch is a no-op.
//
// If the connection breaks or the call times out, and the changes may have been stored, Batch
// returns an error that wraps [ErrCommitUnknown] and does not retry the statements.
func (db *DB) Batch(ctx context.Context, statements ...Statement) error {
	return db.batch(ctx, db.writing(), statements)
}

// BatchRelaxed runs statements as [DB.Batch] does, but does not wait until the commit is on the
// disk. The changes may be lost in the cases that [DB.WriteRelaxed] describes.
func (db *DB) BatchRelaxed(ctx context.Context, statements ...Statement) error {
	s := db.writing()
	s.relaxed = true
	return db.batch(ctx, s, statements)
}

// BatchShared runs statements as [DB.BatchRelaxed] does, but at the isolation level READ COMMITTED
// on PostgreSQL, for the uses that [DB.WriteShared] describes.
func (db *DB) BatchShared(ctx context.Context, statements ...Statement) error {
	s := db.writing()
	s.relaxed, s.shared = true, true
	return db.batch(ctx, s, statements)
}

func (db *DB) batch(ctx context.Context, s scope, statements []Statement) error {
	if len(statements) == 0 {
		return nil
	}
	if db.target.dialect == SQLite {
		return db.transact(ctx, s, func(ctx context.Context, tx *Tx) error { return tx.batch(ctx, statements) })
	}
	if err := db.refuseNested(ctx, "batch"); err != nil {
		return err
	}
	ctx, cancel := db.bound(ctx)
	defer cancel()
	stored := false
	err := db.retry(ctx, func() (err error) {
		end := db.traceBatch(ctx, statements)
		stored, err = s.pipeline(ctx, statements)
		ended(end, err)
		return err
	})
	if err == nil && stored {
		db.health.wroteCall(!s.relaxed)
	}
	return err
}

// batch runs statements in the transaction, one after another.
func (tx *Tx) batch(ctx context.Context, statements []Statement) error {
	for _, st := range statements {
		if st.Rows == nil {
			n, err := tx.Exec(ctx, st.SQL, st.Args...)
			if err != nil {
				return err
			}
			st.affected(n)
			continue
		}
		rows, err := tx.Query(ctx, st.SQL, st.Args...)
		if err != nil {
			return err
		}
		if err := errors.Join(st.Rows(rows), rows.Err(), rows.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (st Statement) affected(n int64) {
	if st.Affected != nil {
		*st.Affected = n
	}
}

// pipeline runs statements in a PostgreSQL transaction, which it sends as one batch. It reports
// whether the transaction has inserted or updated rows.
func (s scope) pipeline(ctx context.Context, statements []Statement) (stored bool, err error) {
	conn, err := s.pool.Conn(ctx)
	if err != nil {
		return false, s.fail(ctx, "begin", err)
	}
	defer conn.Close()
	_ = conn.Raw(func(driverConn any) error { // the error is that of the connection
		c := driverConn.(*stdlib.Conn).Conn()
		stored, err = s.pipelineOn(ctx, c, statements)
		if c.IsClosed() {
			return driver.ErrBadConn
		}
		return nil
	})
	return stored, err
}

func (s scope) pipelineOn(ctx context.Context, c *pgx.Conn, statements []Statement) (stored bool, err error) {
	var b pgx.Batch
	b.Queue("begin isolation level " + strings.ToLower(s.isolation().String()))
	for _, setting := range s.settings() {
		b.Queue(setting)
	}
	first := b.Len()
	for _, st := range statements {
		b.Queue(st.SQL, st.Args...)
	}
	b.Queue("commit")
	results := c.SendBatch(ctx, &b)
	stored, err = readResults(results, first, statements)
	if closeErr := results.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		return stored, nil
	}
	if !c.IsClosed() && c.PgConn().TxStatus() != 'I' {
		if _, err := c.Exec(ctx, "rollback"); err != nil {
			_ = c.Close(ctx) // the pool makes another one
		}
	}
	return false, s.failCommitted(ctx, "batch", err)
}

func readResults(results pgx.BatchResults, first int, statements []Statement) (stored bool, err error) {
	for range first {
		if _, err := results.Exec(); err != nil {
			return false, err
		}
	}
	for _, st := range statements {
		rows, err := results.Query()
		if err != nil {
			return false, err
		}
		if st.Rows != nil {
			err = st.Rows(rows)
		}
		rows.Close()
		if rows.Err() != nil {
			return false, rows.Err()
		}
		if err != nil {
			return false, err
		}
		tag := rows.CommandTag()
		st.affected(tag.RowsAffected())
		stored = stored || tag.RowsAffected() > 0 && (tag.Insert() || tag.Update())
	}
	tag, err := results.Exec()
	if err == nil && tag.String() == "ROLLBACK" {
		return false, pgx.ErrTxCommitRollback
	}
	return stored, err
}

// failCommitted returns the failure for err, the driver's error for a batch or statement that
// commits by itself. If the connection has broken, or the call has timed out or was canceled, and
// the changes may have been stored, the failure wraps [ErrCommitUnknown] and has a class for which
// the operation is not retried.
func (s scope) failCommitted(ctx context.Context, op string, err error) error {
	var f *failure
	errors.As(s.fail(ctx, op, err), &f)
	canceled := s.db.target.dialect == Postgres && errors.Is(err, context.Canceled)
	if notStored(err) || !isPostgres(err) && !isLost(err) && !pgconn.Timeout(err) && !canceled {
		return f
	}
	if f.class == classLost {
		f.class = classUnavailable
	}
	f.err = fmt.Errorf("%w: %w", ErrCommitUnknown, f.err)
	return f
}

func isPostgres(err error) bool {
	_, ok := errors.AsType[*pgconn.PgError](err)
	return ok
}
