package database

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/pressly/goose/v3"
)

// Migration is one SQL file that changes the schema.
type Migration struct {
	Name    string    // the name of the file, such as 00001_users.sql
	Version int64     // the number that Name begins with
	Applied time.Time // time of application; zero while the migration is pending
}

// Migrate applies the pending migrations in the order of their numbers. It returns the names of the
// migrations that it has applied, even if a later one fails. A failed migration is rolled back,
// unless its file contains NO TRANSACTION.
//
// The files are in the directories "sqlite" and "postgres" of migrations, in goose's format:
// 00001_name.sql, with "-- +goose Up" as the first line. Numbers must be unique and must increase:
// Migrate returns an error if two files have the same number, if a file has the number of another
// file that was applied before, or if a pending file has a lower number than an applied one.
//
// A lock ensures that nodes that start together migrate one after another. On SQLite the lock is on
// an empty file with the name of the database and the suffix -migrate. If the lock is not free
// within ten seconds, Migrate returns an error that describes the holder of the lock and for which
// [IsUnavailable] is true; it can then be called again. For a database in memory, only ctx limits
// the wait. [Config.QueryTimeout] does not apply to migrations; only ctx limits them.
func (db *DB) Migrate(ctx context.Context, migrations fs.FS) (applied []string, err error) {
	err = db.migrating(ctx, goose.DefaultTablename, migrations, func(provider *goose.Provider, known map[int64]string) error {
		before, err := db.appliedFiles(ctx)
		if err = errors.Join(err, checkFiles(known, before), checkOrder(known, before)); err != nil {
			return err
		}
		applied, err = up(ctx, provider)
		if len(applied) > 0 {
			err = errors.Join(err, db.recordFiles(ctx, known))
		}
		return err
	})
	return applied, err
}

// MigrateTable applies the pending migrations of a library and returns their names, as [DB.Migrate]
// does for those of the program. It records them in the given table instead of goose_db_version, so
// that their numbers do not collide with those of the program's migrations. It neither records the
// names of the files nor compares them with those that were applied before.
func (db *DB) MigrateTable(ctx context.Context, table string, migrations fs.FS) (applied []string, err error) {
	err = db.migrating(ctx, table, migrations, func(provider *goose.Provider, _ map[int64]string) error {
		applied, err = up(ctx, provider)
		return err
	})
	return applied, err
}

// up applies the pending migrations and returns the names of their files, even after an error.
func up(ctx context.Context, provider *goose.Provider) (applied []string, err error) {
	results, err := provider.Up(ctx)
	if partial, ok := errors.AsType[*goose.PartialError](err); ok {
		results = partial.Applied
		err = fmt.Errorf("%s: %w", path.Base(partial.Failed.Source.Path), partial.Err)
	}
	for _, r := range results {
		applied = append(applied, path.Base(r.Source.Path))
	}
	return applied, err
}

// Migrations returns the applied and the pending migrations, in the order of their numbers. Like
// [DB.Migrate], it waits up to ten seconds for the migration lock.
func (db *DB) Migrations(ctx context.Context, migrations fs.FS) (list []Migration, err error) {
	err = db.migrating(ctx, goose.DefaultTablename, migrations, func(provider *goose.Provider, _ map[int64]string) error {
		statuses, err := provider.Status(ctx)
		for _, s := range statuses {
			list = append(list, Migration{Name: path.Base(s.Source.Path), Version: s.Source.Version, Applied: s.AppliedAt})
		}
		return err
	})
	return list, err
}

// migrating calls do with a provider and the names of the files in migrations, by number, while it
// holds the migration lock. The provider uses separate connections, to which the query timeouts do
// not apply.
func (db *DB) migrating(ctx context.Context, table string, migrations fs.FS, do func(provider *goose.Provider, known map[int64]string) error) error {
	if err := db.refuseClosed("migrate"); err != nil {
		return err
	}
	known, err := migrationFiles(migrations, db.target.dialect)
	if err != nil {
		return err
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
		goose.WithTableName(table), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err == nil {
		err = do(provider, known)
	}
	return db.migrateFailed(ctx, err)
}

func (db *DB) migrateFailed(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
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

// lockMigrations waits until no other node migrates this database, and acquires the migration lock.
// unlock releases the lock; the end of the process releases it too.
func (db *DB) lockMigrations(ctx context.Context, pool *sql.DB) (unlock func(), err error) {
	switch {
	case db.target.dialect == Postgres:
		return db.lockPostgres(ctx, pool)
	case db.target.path == "":
		return db.lockMemory(ctx)
	}
	return db.lockSQLite(ctx, db.target.path+"-migrate")
}

// lockMemory acquires the migration lock of a database in memory, which only this DB can access.
func (db *DB) lockMemory(ctx context.Context) (unlock func(), err error) {
	select {
	case db.memoryLock <- struct{}{}:
		return func() { <-db.memoryLock }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// migrationLock is the key of the advisory lock in PostgreSQL. Advisory locks in different
// databases of a server are independent.
const migrationLock = 0x63686173736921 // "chassi!"

// lockPostgres acquires the migration lock in a transaction, because a pooler keeps no session
// state between transactions. The lock ends with the process. lockPostgres polls instead of waiting
// in the server: a waiting statement holds a snapshot, for which CREATE INDEX CONCURRENTLY would
// wait.
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
		// The simple protocol leaves no portal, and therefore no snapshot, open.
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

// migrationLockHolder returns a description of the connections that hold the migration lock, or
// "another connection" if they are unknown.
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

// lockSQLite acquires the migration lock by locking the file at path, next to the database: goose
// begins and ends transactions of the database, so a lock in the database could not span them. The
// file is never removed, because processes that wait for the lock would then lock different files.
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

// lockPatience is the maximum time to wait for the migration lock. After that time, the caller can
// report the holder of the lock and try again.
const lockPatience = 10 * time.Second

var errLocked = errors.New("another migration of this database is running")

// awaitLock calls try until try acquires the lock or fails, ctx is done, or lockPatience has passed.
// It returns nil if try has acquired the lock. After lockPatience, the error contains the
// description that holder returns.
func (db *DB) awaitLock(ctx context.Context, holder func() string, try func() (locked bool, err error)) error {
	began := time.Now()
	for n := 1; ; n++ {
		locked, err := try()
		if locked || err != nil {
			return err
		}
		waited := time.Since(began)
		if waited >= cmp.Or(db.lockPatience, lockPatience) {
			return fmt.Errorf("%w: waited %v for %s", errLocked, waited.Round(time.Millisecond), holder())
		}
		if !pause(ctx, n) {
			return fmt.Errorf("%w: waited %v: %w", errLocked, waited.Round(time.Millisecond), ctx.Err())
		}
	}
}
