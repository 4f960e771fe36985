// Package database opens SQLite or PostgreSQL by URL and gives both the same
// small, safe surface on top of database/sql.
//
//	db, err := database.Open(ctx, database.Config{URL: "sqlite:authd.db"})
//	err = db.QueryRow(ctx, "SELECT email FROM users WHERE id = $1", id).Scan(&email)
//	err = db.Write(ctx, func(ctx context.Context, tx *database.Tx) error { … })
//
// # One SQL text for both engines
//
//   - Placeholders are $1, $2, …: native in PostgreSQL, and understood by the
//     SQLite driver, so no text is ever rewritten.
//   - Times are integers, microseconds since the Unix epoch (time.Time.UnixMicro),
//     in a column of type BIGINT: exact, sortable, free of zones and of each
//     driver's idea of a date.
//   - Random identifiers are TEXT or BYTEA/BLOB; do not rely on rowid or serial.
//   - Leave unique constraints unnamed in PostgreSQL (or name them as it would):
//     [IsUnique] then reports one name for both engines.
//
// # What every call keeps
//
// Each call ends at the caller's deadline or after [Config.QueryTimeout],
// whichever is first; waiting for a free connection counts. [DB.Write] is
// serializable on both engines and runs again what the database asks to be run
// again. An error says what failed and never holds a password.
package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// Dialect is the kind of SQL a database speaks.
type Dialect uint8

// The engines that [Open] knows.
const (
	SQLite Dialect = iota
	Postgres
)

// String returns "sqlite" or "postgres": the name of the folder that holds the
// migrations of the engine.
func (d Dialect) String() string {
	if d == Postgres {
		return "postgres"
	}
	return "sqlite"
}

// DB is an open database. It is safe for concurrent use.
//
// SQLite has two pools: one connection that writes, and up to MaxOpen that can
// only read and never wait for the writer. PostgreSQL has one pool for all.
type DB struct {
	config Config
	target target
	reader *sql.DB
	writer *sql.DB // the same handle as reader on PostgreSQL
	probe  *sql.DB // for Check, on PostgreSQL
	health health
	closed atomic.Bool
	opened os.FileInfo // SQLite's file, nil in memory and for reading only

	connector    *connector    // of PostgreSQL
	lockPatience time.Duration // for the lock of a migration; 0 is the constant of that name

	// For SQLite in memory.
	release    func() error  // lets go of the data
	memoryLock chan struct{} // held while migrating
}

// Open opens the database that c.URL names; zero fields of c mean their defaults.
//
// SQLite: the file is created with mode 0600 if missing (its folder is not), set
// to write-ahead logging, and an error is returned when it cannot be written or
// is not a database. PostgreSQL: no connection is made, so a server that is down
// does not keep a program from starting; [DB.Check] tells when it is there.
func Open(ctx context.Context, c Config) (*DB, error) { return openWith(ctx, c, accessCreate) }

func openWith(ctx context.Context, c Config, a access) (*DB, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	target, err := parseURL(c.URL)
	if err != nil {
		return nil, err
	}
	if target.dialect == Postgres {
		return openPostgres(c, target)
	}
	target.access = a
	return openSQLite(ctx, c, target)
}

// Dialect tells which engine db talks to.
func (db *DB) Dialect() Dialect { return db.target.dialect }

// Files returns the files that the data is in: SQLite's database, its write-ahead log and
// what is shared beside it, whether they exist or not. PostgreSQL, and SQLite in memory,
// have none here.
func (db *DB) Files() []string {
	if db.target.path == "" {
		return nil
	}
	return []string{db.target.path, db.target.path + "-wal", db.target.path + "-shm", db.target.path + "-journal"}
}

// PoolStats are the figures of one pool of connections.
type PoolStats struct {
	Name string // "reader" and "writer" on SQLite, "pool" on PostgreSQL
	sql.DBStats
}

// Stats returns the figures of each pool, for metrics. The names and their order
// never change during the life of db.
func (db *DB) Stats() []PoolStats {
	if db.reader == db.writer {
		return []PoolStats{{"pool", db.writer.Stats()}}
	}
	return []PoolStats{{"reader", db.reader.Stats()}, {"writer", db.writer.Stats()}}
}

// Close waits for running statements, then closes all connections. Calls that
// come later fail with an error for which [IsUnavailable] holds. A second Close
// does nothing.
func (db *DB) Close() error {
	if db.closed.Swap(true) {
		return nil
	}
	// The writer goes last: SQLite folds its log into the file on the last close.
	err := errors.Join(db.reader.Close(), db.writer.Close())
	if db.probe != nil {
		err = errors.Join(err, db.probe.Close())
	}
	if db.release != nil {
		err = errors.Join(err, db.release())
	}
	if err != nil {
		return fmt.Errorf("database: close: %w", err)
	}
	return nil
}

// configure sets the bounds of a pool that may hold several connections.
func configure(pool *sql.DB, c Config) {
	pool.SetMaxOpenConns(c.MaxOpen)
	pool.SetMaxIdleConns(c.MaxIdle)
	pool.SetConnMaxLifetime(c.MaxLifetime)
	pool.SetConnMaxIdleTime(c.MaxIdleTime)
}

// dropIdle closes the connections that lie in the pool: after one was cut by the
// server the others are most likely dead too, or lead to a server that has
// become a standby.
func (db *DB) dropIdle() {
	db.reader.SetMaxIdleConns(-1)
	db.reader.SetMaxIdleConns(db.config.MaxIdle)
	if db.probe != nil {
		db.probe.SetMaxIdleConns(-1)
		db.probe.SetMaxIdleConns(1)
	}
}
