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

// Check asks the database whether it can store something right now, for a readiness probe.
// It writes as the calls do, and waits for the disk: on SQLite a page, through the
// write-ahead log; on PostgreSQL a record in the log that changes no table. It writes at most
// once in five seconds, and not if a call did in that time. In between it takes the write
// lock (SQLite) or asks whether the server is read-only (PostgreSQL).
//
// PostgreSQL is asked over a connection of its own, so that a slow server, for whose answers
// many calls wait, is not taken for one that fails. Check fails too while calls cannot
// write for want of space or rights, and while all connections are in use and no call gets
// an answer.
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

// checkSQLite takes the write lock, unless a call has had it in the last second and none has
// waited in vain since: under load there is a queue for it. To write it sets user_version to
// what it is.
func (db *DB) checkSQLite(ctx context.Context, write bool) error {
	if err := db.requireSameFile("check"); err != nil {
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

// checkPostgres fails on a server that cannot write: a standby, or one that is
// switched to read-only. Some that speak PostgreSQL's protocol cannot write to the log alone.
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
		return failedAs(classReadOnly, "check", errors.New("the server is read-only: a standby, or default_transaction_read_only is on"))
	}
	return nil
}

// ask takes one round trip.
func (db *DB) ask(ctx context.Context, query string, answer ...any) error {
	return db.probe.QueryRowContext(ctx, query, pgx.QueryExecModeExec).Scan(answer...)
}

// probePool holds the connection of [DB.Check].
func probePool(connector driver.Connector, c Config) *sql.DB {
	pool := sql.OpenDB(patientConnector{connector})
	configure(pool, c)
	pool.SetMaxOpenConns(1)
	return pool
}

// patientConnector connects though the one who asked has given up, for the next one: to
// a slow server that may take longer than a probe.
type patientConnector struct{ driver.Connector }

// Connect ends by the ConnectTimeout.
func (c patientConnector) Connect(ctx context.Context) (driver.Conn, error) {
	return c.Connector.Connect(context.WithoutCancel(ctx))
}

// proofInterval is for how long it is taken for granted that what could be written can be
// written, or could not cannot.
const proofInterval = 5 * time.Second

// health is what calls and probes have found out.
type health struct {
	mu       sync.Mutex
	durable  time.Time // when something was last stored that waited for the disk
	wrote    time.Time // when a call last stored something
	answered time.Time // when a call last got an answer
	refused  error     // for want of space or rights, since when no call could write
	at       time.Time // of refused
	late     error     // a call that got no answer in time, since when none got one
}

// saw learns how a call, or one try of it, has ended.
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

// stored learns that something was stored; durable says that it waited for the disk.
func (h *health) stored(durable bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if durable {
		h.durable = time.Now()
	}
}

// wroteCall is stored for calls, after which no earlier one counts that could not write.
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

// refusal returns why calls cannot write at the moment.
func (h *health) refusal() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.at) < proofInterval {
		return h.refused
	}
	return nil
}

// stuck returns the error of a call that got no answer if none got one for that long.
func (h *health) stuck(d time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.answered) > d {
		return h.late
	}
	return nil
}

// isStorage holds for a full or broken disk, and for a file that must not be written.
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
