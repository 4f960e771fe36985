package database

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// Statement is SQL with its arguments, for [DB.Batch].
type Statement struct {
	SQL  string
	Args []any

	// Rows reads the rows that the statement returns; it may be nil. It may run more than
	// once, as the function of [DB.Write] may. Its errors are those of the cursor.
	Rows func(Cursor) error

	// Affected, unless it is nil, is set to the number of rows that were changed.
	Affected *int64
}

// Cursor is what [Statement.Rows] reads.
type Cursor interface {
	Next() bool
	Scan(dest ...any) error
}

// Batch runs statements as [DB.Write] would, in one serializable transaction, none of which
// depends on what an earlier one returned. They are sent together: on PostgreSQL all of
// it, begin and commit included, is one round trip (two the first time on a connection).
//
// When the connection breaks meanwhile, the error is [ErrCommitUnknown] unless it is certain
// that nothing was stored, and nothing is run again.
func (db *DB) Batch(ctx context.Context, statements ...Statement) error {
	return db.batch(ctx, db.writing(), statements)
}

// BatchRelaxed is [DB.Batch] without waiting for the disk, see [DB.WriteRelaxed].
func (db *DB) BatchRelaxed(ctx context.Context, statements ...Statement) error {
	s := db.writing()
	s.relaxed = true
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
	return s.wrote(db.retry(ctx, func() error {
		end := db.traceBatch(ctx, statements)
		err := s.pipeline(ctx, statements)
		ended(end, err)
		return err
	}))
}

// batch runs statements one after the other.
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

// pipeline sends a transaction to PostgreSQL at once.
func (s scope) pipeline(ctx context.Context, statements []Statement) error {
	conn, err := s.pool.Conn(ctx)
	if err != nil {
		return s.fail(ctx, "begin", err)
	}
	defer conn.Close()
	var failure error
	_ = conn.Raw(func(driverConn any) error { // its error is the connection's
		c := driverConn.(*stdlib.Conn).Conn()
		failure = s.pipelineOn(ctx, c, statements)
		if c.IsClosed() {
			return driver.ErrBadConn
		}
		return nil
	})
	return failure
}

func (s scope) pipelineOn(ctx context.Context, c *pgx.Conn, statements []Statement) error {
	var b pgx.Batch
	b.Queue("begin isolation level serializable")
	for _, setting := range s.settings() {
		b.Queue(setting)
	}
	first := b.Len()
	for _, st := range statements {
		b.Queue(st.SQL, st.Args...)
	}
	b.Queue("commit")
	results := c.SendBatch(ctx, &b)
	err := readResults(results, first, statements)
	if closeErr := results.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		return nil
	}
	if !c.IsClosed() && c.PgConn().TxStatus() != 'I' {
		if _, err := c.Exec(ctx, "rollback"); err != nil {
			_ = c.Close(ctx) // the pool makes another one
		}
	}
	return s.failBatch(ctx, err)
}

func readResults(results pgx.BatchResults, first int, statements []Statement) error {
	for range first {
		if _, err := results.Exec(); err != nil {
			return err
		}
	}
	for _, st := range statements {
		rows, err := results.Query()
		if err != nil {
			return err
		}
		if st.Rows != nil {
			err = st.Rows(rows)
		}
		rows.Close()
		if rows.Err() != nil {
			return rows.Err()
		}
		if err != nil {
			return err
		}
		st.affected(rows.CommandTag().RowsAffected())
	}
	tag, err := results.Exec()
	if err == nil && tag.String() == "ROLLBACK" {
		return pgx.ErrTxCommitRollback
	}
	return err
}

// failBatch is [scope.fail] for a batch, of which it may be unknown whether it is stored.
// Then nothing is run again.
func (s scope) failBatch(ctx context.Context, err error) error {
	var f *failure
	errors.As(s.fail(ctx, "batch", err), &f)
	if notStored(err) || !isPostgres(err) && !isLost(err) && !pgconn.Timeout(err) {
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
