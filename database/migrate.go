package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/pressly/goose/v3"
)

// Migration is one file of SQL that changes the schema.
type Migration struct {
	Name    string    // the file, such as 00001_users.sql
	Version int64     // the number its name begins with
	Applied time.Time // zero while it is pending
}

// Migrate applies the pending migrations in the order of their numbers and
// returns the names of those it applied, also when a later one failed. A failed
// one leaves nothing behind, unless its file says NO TRANSACTION.
//
// The files lie in the folders "sqlite" and "postgres" of migrations and are in
// goose's format: 00001_name.sql with the line "-- +goose Up" on top. A lock makes
// nodes that start together wait for each other; on SQLite it is an empty file
// named like the database with -migrate at its end. After ten seconds of waiting the
// error says who has the lock, and [IsUnavailable] holds for it: call again. Migrations
// take as long as ctx allows: QueryTimeout does not bound them.
func (db *DB) Migrate(ctx context.Context, migrations fs.FS) (applied []string, err error) {
	err = db.migrating(ctx, migrations, func(provider *goose.Provider) error {
		results, err := provider.Up(ctx)
		if partial, ok := errors.AsType[*goose.PartialError](err); ok {
			results = partial.Applied
			err = fmt.Errorf("%s: %w", path.Base(partial.Failed.Source.Path), partial.Err)
		}
		for _, r := range results {
			applied = append(applied, path.Base(r.Source.Path))
		}
		return err
	})
	return applied, err
}

// Migrations lists all migrations in order, applied and pending.
func (db *DB) Migrations(ctx context.Context, migrations fs.FS) (list []Migration, err error) {
	err = db.migrating(ctx, migrations, func(provider *goose.Provider) error {
		statuses, err := provider.Status(ctx)
		for _, s := range statuses {
			list = append(list, Migration{Name: path.Base(s.Source.Path), Version: s.Source.Version, Applied: s.AppliedAt})
		}
		return err
	})
	return list, err
}

// migrating calls do while it holds the lock, with connections of their own, which
// the bounds for queries do not apply to.
func (db *DB) migrating(ctx context.Context, migrations fs.FS, do func(*goose.Provider) error) error {
	if db.closed.Load() {
		return failedAs(classUnavailable, "migrate", errors.New("the database is closed"))
	}
	files, err := fs.Sub(migrations, db.target.dialect.String())
	if err != nil {
		return failed("migrate", err)
	}
	pool, err := db.migrator()
	if err != nil {
		return err
	}
	defer func() { _ = pool.Close() }() // what was applied is committed
	unlock, err := db.lockMigrations(ctx, pool)
	if err != nil {
		return db.migrateFailed(ctx, fmt.Errorf("lock: %w", err))
	}
	defer unlock()
	provider, err := goose.NewProvider(db.gooseDialect(), pool, files,
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err == nil {
		err = do(provider)
	}
	return db.migrateFailed(ctx, err)
}

func (db *DB) migrateFailed(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, goose.ErrNoMigrations):
		return failed("migrate", fmt.Errorf("no .sql file in the folder %q of the migrations: %w", db.target.dialect, err))
	case errors.Is(err, errLocked):
		return failedAs(classUnavailable, "migrate", err)
	}
	return db.writing().fail(ctx, "migrate", err)
}

func (db *DB) gooseDialect() goose.Dialect {
	if db.target.dialect == Postgres {
		return goose.DialectPostgres
	}
	return goose.DialectSQLite3
}

func (db *DB) migrator() (*sql.DB, error) {
	if db.target.dialect == SQLite {
		return sqlitePool(db.target.sqliteWriter() + "&_pragma=busy_timeout(60000)")
	}
	config, err := postgresConfig(db.config, db.target)
	if err != nil {
		return nil, err
	}
	config.RuntimeParams["statement_timeout"] = "0"
	config.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	return sql.OpenDB(newConnector(config, db.target)), nil
}

// lockMigrations waits until no other node migrates this database. The lock ends
// with the process, however that ends.
func (db *DB) lockMigrations(ctx context.Context, pool *sql.DB) (unlock func(), err error) {
	switch {
	case db.target.dialect == Postgres:
		return db.lockPostgres(ctx, pool)
	case db.target.path == "":
		return db.lockMemory(ctx)
	}
	return db.lockSQLite(ctx, db.target.path+"-migrate")
}

// lockMemory suffices where nobody but this handle can see the data.
func (db *DB) lockMemory(ctx context.Context) (unlock func(), err error) {
	select {
	case db.memoryLock <- struct{}{}:
		return func() { <-db.memoryLock }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// migrationLock is the advisory lock of PostgreSQL, one per database of a server.
const migrationLock = 0x63686173736921 // "chassi!"

// lockPostgres holds the lock by a transaction, which is all that a pooler leaves to us of
// a connection, and which ends with the process. It asks again and again instead of
// waiting in the server: a waiting statement holds a snapshot, and CREATE INDEX
// CONCURRENTLY would wait for that.
func (db *DB) lockPostgres(ctx context.Context, pool *sql.DB) (unlock func(), err error) {
	conn, err := pool.Conn(ctx)
	if err != nil {
		return nil, err
	}
	do := func(ctx context.Context, statements string) (value string, err error) {
		err = conn.Raw(func(driver any) error {
			value, err = simple(ctx, driver, statements)
			return err
		})
		return value, err
	}
	err = db.awaitLock(ctx, func() string { return migrationLockHolder(ctx, conn) }, func() (locked bool, err error) {
		// Of the simple protocol no portal remains open, and with it no snapshot.
		value, err := do(ctx, fmt.Sprintf(`BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;
			SELECT pg_try_advisory_xact_lock(%d)`, migrationLock))
		if err == nil && value != "t" {
			_, err = do(ctx, "ROLLBACK")
		}
		return value == "t", err
	})
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), db.config.QueryTimeout)
		defer cancel()
		_, err := do(ctx, "ROLLBACK")
		_ = errors.Join(err, conn.Close()) // the pool is closed next, which ends the transaction in any case
	}, nil
}

// migrationLockHolder describes which connections of the server have the lock.
func migrationLockHolder(ctx context.Context, conn *sql.Conn) string {
	const query = `SELECT string_agg(format('process %s (%s%s, %s since %s)', l.pid, a.application_name,
			coalesce(' from ' || host(a.client_addr), ''), a.state, to_char(a.state_change, 'YYYY-MM-DD HH24:MI:SS OF')), ', ')
		FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
		WHERE l.locktype = 'advisory' AND l.granted AND a.datname = current_database()
			AND l.classid = $1 AND l.objid = $2 AND l.objsubid = 1`
	var holder sql.NullString
	err := conn.QueryRowContext(ctx, query, int64(migrationLock>>32), int64(migrationLock&0xffffffff)).Scan(&holder)
	if err != nil || !holder.Valid {
		return "another connection"
	}
	return holder.String
}

// lockSQLite locks a file beside the database: goose begins and ends transactions
// of the database itself, so a lock in there could not span them. The file stays,
// since removing it while another process waits for it would split the lock.
func (db *DB) lockSQLite(ctx context.Context, path string) (unlock func(), err error) {
	if err := createFile(path); err != nil {
		return nil, err
	}
	pool, err := sqlitePool(target{path: path}.sqliteFile() + "_txlock=exclusive&_pragma=busy_timeout(50)")
	if err != nil {
		return nil, err
	}
	var tx *sql.Tx
	held := func() string { return "the process that has locked " + path }
	err = db.awaitLock(ctx, held, func() (locked bool, err error) {
		tx, err = pool.BeginTx(context.WithoutCancel(ctx), nil)
		if err != nil && classify(err) == classBusy {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	return func() { _ = errors.Join(tx.Rollback(), pool.Close()) }, nil
}

// lockPatience bounds the wait for the lock: the caller can say then what it waits for, and
// ask again.
const lockPatience = 10 * time.Second

var errLocked = errors.New("another migration of this database is running")

// awaitLock calls try until the lock is taken, try fails, or ctx or the patience ends.
func (db *DB) awaitLock(ctx context.Context, holder func() string, try func() (locked bool, err error)) error {
	began := time.Now()
	for n := 1; ; n++ {
		locked, err := try()
		if locked || err != nil {
			return err
		}
		waited := time.Since(began)
		if waited >= or(db.lockPatience, lockPatience) {
			return fmt.Errorf("%w: waited %v for %s", errLocked, waited.Round(time.Millisecond), holder())
		}
		if !pause(ctx, n) {
			return fmt.Errorf("%w: waited %v: %w", errLocked, waited.Round(time.Millisecond), ctx.Err())
		}
	}
}
