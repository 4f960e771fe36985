package main

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// defaults sets the number of workers to that of the example in River's introduction, and leaves
// the other settings at their defaults.
func defaults(c *river.Config) { c.Queues[river.QueueDefault] = river.QueueConfig{MaxWorkers: 100} }

// asInItsBenchmark configures c as the command "river bench" configures its client.
func asInItsBenchmark(c *river.Config) {
	c.FetchCooldown, c.FetchPollInterval = 2*time.Millisecond, 20*time.Millisecond
	c.Queues[river.QueueDefault] = river.QueueConfig{MaxWorkers: 2000}
}

// Kind returns the name of the job.
func (order) Kind() string { return "ship" }

// shipper is the River worker that calls work with the number of each job.
type shipper struct {
	river.WorkerDefaults[order]

	work *func(int64)
}

// Work implements [river.Worker].
func (s *shipper) Work(_ context.Context, j *river.Job[order]) error {
	(*s.work)(j.Args.Number)
	return nil
}

// riverQueue is a system that runs its tasks as jobs of River.
type riverQueue[TTx any] struct {
	client *river.Client[TTx]
	work   func(int64)
	begin  func(context.Context) (tx TTx, q querier, commit, rollback func(context.Context) error, err error)
	count  func(context.Context) (int, error)
	end    func()
}

func openRiver(configure func(*river.Config)) opener {
	return func(ctx context.Context, dialect, url string) (system, error) {
		if dialect == "SQLite" {
			return openRiverSQLite(ctx, url, configure)
		}
		return openRiverPostgres(ctx, url, configure)
	}
}

const unfinished = "SELECT count(*) FROM river_job WHERE state <> 'completed'"

func openRiverSQLite(ctx context.Context, path string, configure func(*river.Config)) (system, error) {
	// The settings of the connection with which chassi writes; River's driver requires one connection.
	db, err := sql.Open("sqlite", "file:"+path+"?_dqs=0&_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)&_txlock=immediate&_pragma=journal_mode(wal)&_pragma=synchronous(full)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	q := &riverQueue[*sql.Tx]{end: func() { _ = db.Close() }}
	q.begin = func(ctx context.Context) (*sql.Tx, querier, func(context.Context) error, func(context.Context) error, error) {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return nil, nil, nil, nil, err
		}
		return tx, sqlTx{tx}, func(context.Context) error { return tx.Commit() }, func(context.Context) error { return tx.Rollback() }, nil
	}
	q.count = func(ctx context.Context) (n int, err error) {
		err = db.QueryRowContext(ctx, unfinished).Scan(&n)
		return n, err
	}
	return q, q.prepare(ctx, riversqlite.New(db), configure)
}

func openRiverPostgres(ctx context.Context, url string, configure func(*river.Config)) (system, error) {
	c, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	c.MaxConns = 16
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return nil, err
	}
	q := &riverQueue[pgx.Tx]{end: pool.Close}
	q.begin = func(ctx context.Context) (pgx.Tx, querier, func(context.Context) error, func(context.Context) error, error) {
		tx, err := pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable})
		if err != nil {
			return nil, nil, nil, nil, err
		}
		return tx, pgxTx{tx}, tx.Commit, tx.Rollback, nil
	}
	q.count = func(ctx context.Context) (n int, err error) {
		err = pool.QueryRow(ctx, unfinished).Scan(&n)
		return n, err
	}
	return q, q.prepare(ctx, riverpgxv5.New(pool), configure)
}

// prepare migrates the schema of River, creates its client, and creates the tables of the
// benchmark.
func (q *riverQueue[TTx]) prepare(ctx context.Context, driver riverdriver.Driver[TTx], configure func(*river.Config)) error {
	migrator, err := rivermigrate.New(driver, nil)
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return err
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &shipper{work: &q.work})
	config := &river.Config{Logger: quiet, Workers: workers, Queues: make(map[string]river.QueueConfig)}
	configure(config)
	if q.client, err = river.NewClient(driver, config); err != nil {
		return err
	}
	_, tx, commit, _, err := q.begin(ctx)
	if err != nil {
		return err
	}
	for _, table := range tables {
		if err := tx.exec(ctx, table); err != nil {
			return err
		}
	}
	return commit(ctx)
}

func (q *riverQueue[TTx]) transact(ctx context.Context, number int64, statements func(context.Context, querier) error) (attempts int, err error) {
	for {
		attempts++
		if err = q.once(ctx, number, statements); !isConflict(err) {
			return attempts, err
		}
	}
}

func (q *riverQueue[TTx]) once(ctx context.Context, number int64, statements func(context.Context, querier) error) error {
	tx, querier, commit, rollback, err := q.begin(ctx)
	if err != nil {
		return err
	}
	if err = statements(ctx, querier); err == nil {
		_, err = q.client.InsertTx(ctx, tx, order{number}, nil)
	}
	if err != nil {
		return errors.Join(err, rollback(ctx))
	}
	return commit(ctx)
}

func isConflict(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (e.Code == "40001" || e.Code == "40P01")
}

func (q *riverQueue[TTx]) start(ctx context.Context, work func(int64)) error {
	q.work = work
	return q.client.Start(ctx)
}

func (q *riverQueue[TTx]) stop(ctx context.Context) error { return q.client.Stop(ctx) }

func (q *riverQueue[TTx]) left(ctx context.Context) (int, error) { return q.count(ctx) }

func (q *riverQueue[TTx]) close() { q.end() }

type sqlTx struct{ tx *sql.Tx }

func (t sqlTx) exec(ctx context.Context, query string, args ...any) error {
	_, err := t.tx.ExecContext(ctx, query, args...)
	return err
}

func (t sqlTx) number(ctx context.Context, query string, args ...any) (n int64, err error) {
	err = t.tx.QueryRowContext(ctx, query, args...).Scan(&n)
	return n, err
}

type pgxTx struct{ tx pgx.Tx }

func (t pgxTx) exec(ctx context.Context, query string, args ...any) error {
	_, err := t.tx.Exec(ctx, query, args...)
	return err
}

func (t pgxTx) number(ctx context.Context, query string, args ...any) (n int64, err error) {
	err = t.tx.QueryRow(ctx, query, args...).Scan(&n)
	return n, err
}
