package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
)

// Check returns an error if the database cannot store data at the moment. It is meant for readiness
// probes. Check performs a write that waits for the disk: on SQLite it writes a page through the
// write-ahead log, and on PostgreSQL, if the server supports that, it writes a log record that
// changes no table. It does not write if Check or a call has performed a write that waited for the
// disk in the last five seconds, and no call has failed since because the database was unavailable.
// When Check does not write, it checks on PostgreSQL that the server is not read-only, and on
// SQLite it acquires the write lock, unless a call has written in the last second and none has
// timed out since the last response.
//
// On PostgreSQL, Check uses a separate connection, so that it succeeds on a slow server with many
// calls in progress. Check also returns an error while calls fail for lack of space or permissions
// and, on PostgreSQL, while all connections are in use and no call gets a response.
func (db *DB) Check(ctx context.Context) error {
	ctx, cancel := db.bound(ctx)
	defer cancel()
	began := time.Now()
	write := db.health.due(began)
	err := db.rerun(ctx, func() error {
		if db.target.dialect == Postgres {
			return db.checkPostgres(ctx, write)
		}
		return db.checkSQLite(ctx, write)
	})
	if err != nil {
		return err
	}
	if write {
		db.health.stored(true)
	}
	if err := db.health.refusal(); err != nil {
		return err
	}
	if s := db.reader.Stats(); db.target.dialect == Postgres && s.InUse >= s.MaxOpenConnections {
		return db.health.stuck(max(50*time.Millisecond, 3*time.Since(began)))
	}
	return nil
}

// checkSQLite returns an error if the file was replaced or cannot be locked for writing. If write
// is true, it also sets user_version to its current value. If write is false, it does not acquire
// the lock if a call has written in the last second and none has timed out since the last response,
// because other calls wait for the lock under load.
func (db *DB) checkSQLite(ctx context.Context, write bool) error {
	if err := db.requireSameFile("check"); err != nil {
		return err
	}
	if err := db.refuseClosed("check"); err != nil {
		return err
	}
	if !write && db.health.wroteWithin(time.Second) {
		return nil
	}
	tx, err := db.writer.BeginTx(ctx, nil)
	if err != nil {
		return db.writing().fail(ctx, "check", err)
	}
	if write {
		var version int64
		if err = tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err == nil {
			_, err = tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", version))
		}
		if err == nil {
			err = tx.Commit()
		}
	}
	if rollbackErr := tx.Rollback(); err == nil && !errors.Is(rollbackErr, sql.ErrTxDone) {
		err = rollbackErr
	}
	if err != nil {
		return db.writing().fail(ctx, "check", err)
	}
	return nil
}

const (
	readOnlySetting = "SELECT current_setting('transaction_read_only')"
	writeToLog      = `SELECT current_setting('transaction_read_only'), CASE current_setting('transaction_read_only') WHEN 'off' THEN
		CAST(pg_logical_emit_message(true, 'chassi', '') AS TEXT) END`
)

// checkPostgres returns an error if the server cannot write, because it is a standby or was
// switched to read-only. If write is true, it writes a record to the write-ahead log, unless the
// server does not support that, as is the case for some servers with PostgreSQL's protocol.
func (db *DB) checkPostgres(ctx context.Context, write bool) error {
	var readOnly string
	var err error
	if write {
		var position sql.NullString
		err = db.ask(ctx, writeToLog, &readOnly, &position)
		pg, ok := errors.AsType[*pgconn.PgError](err)
		// undefined_function, insufficient_privilege, feature_not_supported
		write = !ok || pg.Code != "42883" && pg.Code != "42501" && pg.Code != "0A000"
	}
	if !write {
		err = db.ask(ctx, readOnlySetting, &readOnly)
	}
	if err != nil {
		return db.writing().fail(ctx, "check", err)
	}
	if readOnly == "on" {
		return failedAs(classReadOnly, "check", errors.New("the server is read-only: it is a standby, or default_transaction_read_only is on"))
	}
	return nil
}

// ask runs a query on the connection of [DB.Check], in one round trip, and copies the first row to
// response.
func (db *DB) ask(ctx context.Context, query string, response ...any) error {
	return db.probe.QueryRowContext(ctx, query, pgx.QueryExecModeExec).Scan(response...)
}

// probePool returns the pool with the single connection that [DB.Check] uses.
func probePool(connector driver.Connector, c Config) *sql.DB {
	pool := sql.OpenDB(patientConnector{connector})
	configure(pool, c)
	pool.SetMaxOpenConns(1)
	return pool
}

// patientConnector is a connector that continues to connect after the caller has given up, for the
// next caller: connecting to a slow server may take longer than a probe.
type patientConnector struct{ driver.Connector }

// Connect opens a connection, even if ctx is done. It times out after [Config.ConnectTimeout].
func (c patientConnector) Connect(ctx context.Context) (driver.Conn, error) {
	return c.Connector.Connect(context.WithoutCancel(ctx))
}

// proofInterval is the time for which the outcome of a write, success or failure, is assumed to
// hold.
const proofInterval = 5 * time.Second

// health records the outcomes of recent calls and probes.
type health struct {
	mu       sync.Mutex
	durable  time.Time // last write that waited for the disk; zero after a later failure
	wrote    time.Time // last write of a call
	answered time.Time // last response to a call
	refused  error     // last failure for lack of space or permissions, until a call has written
	at       time.Time // time of refused
	late     error     // last timeout, until a call has received a response
}

// saw records the outcome of a call or of one attempt of it.
func (h *health) saw(err error) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	switch class := classOf(err); {
	case class == classReadOnly, class == classUnavailable && isStorage(err):
		h.refused, h.at, h.durable = err, now, time.Time{}
	case class == classUnavailable, class == classLost:
		h.durable = time.Time{}
		return
	case class == classTimeout:
		h.late = err
		return
	}
	h.answered, h.late = now, nil
}

// stored records the time of a successful write if durable is true, that is, if the write waited
// for the disk. Otherwise it does nothing.
func (h *health) stored(durable bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if durable {
		h.durable = time.Now()
	}
}

// wroteCall records a successful write of a call, as stored does, and clears earlier failures to
// write.
func (h *health) wroteCall(durable bool) {
	h.stored(durable)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wrote, h.refused = time.Now(), nil
}

func (h *health) due(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return now.Sub(h.durable) >= proofInterval
}

func (h *health) wroteWithin(d time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Since(h.wrote) < d && h.late == nil
}

// refusal returns the last error for lack of space or permissions if it occurred within the last
// proofInterval and no call has written since, and nil otherwise.
func (h *health) refusal() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.at) < proofInterval {
		return h.refused
	}
	return nil
}

// stuck returns the error of the last call that timed out if no call has received a response for d,
// and nil otherwise.
func (h *health) stuck(d time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.answered) > d {
		return h.late
	}
	return nil
}

// isStorage reports whether err, an error of the class unavailable, is an error of SQLite or, on an
// open connection to PostgreSQL, means insufficient resources or a system error: in particular, that
// the disk is full or broken or that the file cannot be written.
func isStorage(err error) bool {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return false
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return strings.HasPrefix(pg.Code, "53") || strings.HasPrefix(pg.Code, "58")
	}
	_, ok := errors.AsType[*sqlite.Error](err)
	return ok
}
