package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/dbtest"
)

func TestErrNotFound(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		db := counters(t, c)
		var n int
		err := db.QueryRow(t.Context(), "SELECT n FROM counters WHERE id = $1", 7).Scan(&n)
		if !errors.Is(err, ErrNotFound) || !errors.Is(err, sql.ErrNoRows) || IsUnavailable(err) {
			t.Errorf("err = %v", err)
		}
		err = db.Write(t.Context(), func(ctx context.Context, tx *Tx) error {
			return tx.QueryRow(ctx, "SELECT n FROM counters WHERE id = $1", 7).Scan(&n)
		})
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("in a transaction: err = %v", err)
		}
	})
}

// Both databases refuse what PostgreSQL does not store as text, and nothing else.
func TestInvalidText(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		db := open(t, c)
		mustExec(t, db, "CREATE TABLE texts (t TEXT)")
		blob := "BLOB"
		if db.Dialect() == Postgres {
			blob = "BYTEA"
		}
		mustExec(t, db, "CREATE TABLE bytes (b "+blob+")")
		for text, invalid := range map[string]bool{"a\x00b": true, "\xff": true, "\xed\xa0\x80": true, "": false, "é\u2028\U0001f600": false} {
			insert := func(ctx context.Context, q interface {
				Exec(ctx context.Context, query string, args ...any) (int64, error)
			}) error {
				_, err := q.Exec(ctx, "INSERT INTO texts VALUES ($1)", text)
				return err
			}
			var n int64
			for name, err := range map[string]error{
				"exec":        insert(t.Context(), db),
				"transaction": db.Write(t.Context(), func(ctx context.Context, tx *Tx) error { return insert(ctx, tx) }),
				"batch":       db.Batch(t.Context(), Statement{SQL: "INSERT INTO texts VALUES ($1)", Args: []any{text}}),
				"query":       db.QueryRow(t.Context(), "SELECT count(*) FROM texts WHERE t = $1", text).Scan(&n),
			} {
				e := chassi.ErrorOf(err)
				if invalid != (e != nil && e.Code == chassi.InvalidArgument) || !invalid && err != nil || IsUnavailable(err) {
					t.Errorf("%s of %q: %v", name, text, err)
				}
			}
			if _, err := db.Exec(t.Context(), "INSERT INTO bytes VALUES ($1)", []byte(text)); err != nil {
				t.Errorf("%q as bytes: %v", text, err)
			}
		}
	})
}

// A limit of the server, from the URL, is a timeout as that of the call is.
func TestStatementTimeout(t *testing.T) {
	t.Parallel()
	db := open(t, Config{URL: dbtest.Postgres(t) + "&statement_timeout=50"})
	_, err := db.Exec(t.Context(), "SELECT pg_sleep(10)")
	if e := chassi.ErrorOf(err); e == nil || e.Code != chassi.DeadlineExceeded || !IsUnavailable(err) {
		t.Errorf("got %v", err)
	}
}

func TestIsUnique(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		db := open(t, c)
		mustExec(t, db, "CREATE TABLE users (id BIGINT NOT NULL PRIMARY KEY, email TEXT NOT NULL UNIQUE, realm TEXT, name TEXT CHECK (name <> ''), UNIQUE (realm, name))")
		mustExec(t, db, "CREATE TABLE tags (tag TEXT)")
		mustExec(t, db, "CREATE UNIQUE INDEX tags_lower ON tags (lower(tag))")
		mustExec(t, db, "INSERT INTO tags VALUES ('a')")
		mustExec(t, db, "CREATE TABLE pairs (a BIGINT, b BIGINT, PRIMARY KEY (a, b))")
		mustExec(t, db, "INSERT INTO pairs VALUES (1, 2)")
		const insert = "INSERT INTO users (id, email, realm, name) VALUES ($1, $2, $3, $4)"
		mustExec(t, db, insert, 1, "a@x", "r", "a")
		for _, test := range []struct {
			name  string
			query string
			args  []any
		}{
			{"users_pkey", insert, []any{1, "b@x", "r", "b"}},
			{"users_email_key", insert, []any{2, "a@x", "r", "b"}},
			{"users_realm_name_key", insert, []any{2, "b@x", "r", "a"}},
			{"tags_lower", "INSERT INTO tags VALUES ('A')", nil},
			{"pairs_pkey", "INSERT INTO pairs VALUES (1, 2)", nil},
		} {
			_, err := db.Exec(t.Context(), test.query, test.args...)
			if !IsUnique(fmt.Errorf("wrapped: %w", err)) || IsUnavailable(err) {
				t.Errorf("%s: IsUnique(%v) = false, or it is unavailable", test.name, err)
			}
		}
		_, err := db.Exec(t.Context(), insert, 2, "b@x", "r", "")
		if err == nil || IsUnique(err) {
			t.Errorf("a check constraint: IsUnique(%v) = true", err)
		}
	})
}

// Fault 33: who waits for a connection waits until the deadline, not longer, and
// both the error and the health check say what is wrong.
func TestPoolExhausted(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		c.MaxOpen = 1
		db := counters(t, c)
		hold, held, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		go func() {
			done <- db.Write(t.Context(), func(ctx context.Context, tx *Tx) error {
				close(held)
				<-hold
				return nil
			})
		}()
		<-held
		var group errgroup.Group
		for range 20 {
			group.Go(func() error {
				start := time.Now()
				err := db.Write(short(t, 100*time.Millisecond), increment)
				if !IsUnavailable(err) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 of 1 connections") {
					return fmt.Errorf("Write: %w", err)
				}
				if late := time.Since(start); late > 3*time.Second {
					return fmt.Errorf("returned after %v", late)
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
		// On PostgreSQL a check that takes long does not know yet that the last response was too long ago.
		err := db.Check(short(t, 50*time.Millisecond))
		for began := time.Now(); err == nil && time.Since(began) < 10*time.Second; {
			err = db.Check(short(t, 50*time.Millisecond))
		}
		if !IsUnavailable(err) || !strings.Contains(err.Error(), "1 of 1") {
			t.Errorf("Check: %v", err)
		}
		close(hold)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := db.Check(t.Context()); err != nil {
			t.Errorf("Check afterwards: %v", err)
		}
	})
}

// A query that runs too long ends at the deadline of the configuration, also when
// the context inside a transaction has none.
func TestQueryTimeout(t *testing.T) {
	t.Parallel()
	for dialect, slow := range map[Dialect]string{
		Postgres: "SELECT 1 FROM pg_sleep(60)",
		SQLite:   "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
	} {
		t.Run(dialect.String(), func(t *testing.T) {
			t.Parallel()
			url := dbtest.SQLite(t)
			if dialect == Postgres {
				url = dbtest.Postgres(t)
			}
			db := open(t, Config{URL: url, QueryTimeout: time.Second}) // the first connection included
			var n int
			err := db.QueryRow(t.Context(), slow).Scan(&n)
			if !IsUnavailable(err) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("QueryRow: %v", err)
			}
			err = db.Write(t.Context(), func(_ context.Context, tx *Tx) error {
				return tx.QueryRow(context.Background(), slow).Scan(&n)
			})
			if !IsUnavailable(err) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Write: %v", err)
			}
			if err := db.Check(t.Context()); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

func TestQueryRefusesToWriteOnSQLite(t *testing.T) {
	t.Parallel()
	db := counters(t, Config{URL: dbtest.SQLite(t)})
	var n int
	err := db.QueryRow(t.Context(), "UPDATE counters SET n = 1 RETURNING n").Scan(&n)
	if err == nil || IsUnavailable(err) || !strings.Contains(err.Error(), "use Write") {
		t.Errorf("err = %v", err)
	}
}

func TestClosed(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		db := counters(t, c)
		if err := db.Write(t.Context(), increment); err != nil { // a check soon after it does not write
			t.Fatal(err)
		}
		if err := errors.Join(db.Close(), db.Close()); err != nil {
			t.Fatal(err)
		}
		_, migrate := db.Migrate(t.Context(), migrations(map[string]string{"1_a.sql": "SELECT 1;"}))
		listen := db.Listen(t.Context(), "c", func(string) {})
		for _, err := range []error{db.Write(t.Context(), increment), db.Check(t.Context()), migrate, listen} {
			if !IsUnavailable(err) || !strings.Contains(err.Error(), "closed") {
				t.Errorf("err = %v", err)
			}
		}
	})
}

// Fault 35: without a server Open succeeds and everything else says unavailable,
// with the password nowhere.
func TestServerAbsent(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	db := open(t, Config{URL: "postgres://user:canary-secret@" + address + "/x?sslmode=disable"})
	_, migrate := db.Migrate(t.Context(), migrations(map[string]string{"1_a.sql": "SELECT 1;"}))
	for _, err := range []error{db.Check(t.Context()), db.Write(t.Context(), increment), migrate} {
		if !IsUnavailable(err) || strings.Contains(fmt.Sprintf("%+v", err), "canary-secret") {
			t.Errorf("err = %v", err)
		}
	}
}

// Fault 36: a server that accepts and never responds costs no more than the deadline.
func TestServerHangs(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }() // never accepts: the kernel does
	db := open(t, Config{URL: "postgres://u@" + listener.Addr().String() + "/x?sslmode=disable", QueryTimeout: 100 * time.Millisecond})
	if err := db.Check(t.Context()); !IsUnavailable(err) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Check: %v", err)
	}
}

// T56: a full disk and a read-only one refuse writes as unavailable, reading goes
// on, and all heals with the disk.
func TestDiskFullAndReadOnly(t *testing.T) {
	t.Parallel()
	for name, pragmas := range map[string][2]string{
		"full":      {"PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000"},
		"read-only": {"PRAGMA query_only = 1", "PRAGMA query_only = 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := counters(t, Config{URL: dbtest.SQLite(t)})
			writerPragma(t, db, pragmas[0])
			_, err := db.Exec(t.Context(), "CREATE TABLE big AS SELECT randomblob(100000) AS b")
			if !IsUnavailable(err) {
				t.Errorf("err = %v", err)
			}
			if n := count(t, db, "SELECT count(*) FROM counters"); n != 1 {
				t.Errorf("%d rows", n)
			}
			writerPragma(t, db, pragmas[1])
			mustExec(t, db, "UPDATE counters SET n = 5")
		})
	}
}

func writerPragma(t *testing.T, db *DB, pragma string) {
	t.Helper()
	if _, err := db.writer.ExecContext(t.Context(), pragma); err != nil {
		t.Fatal(err)
	}
}

// Broken connections are replaced without an error reaching anyone: the server cut
// them between calls, and in the middle of a transaction.
func TestTerminatedBackendsHeal(t *testing.T) {
	t.Parallel()
	const conns = 4 * maxLost
	db := counters(t, Config{URL: dbtest.Postgres(t), MaxOpen: conns})
	fillPool(t, db, conns)
	terminateOthers(t, db)
	if n := count(t, db, "SELECT n FROM counters WHERE id = $1", 1); n != 0 {
		t.Errorf("n = %d", n)
	}
	fillPool(t, db, conns)
	terminateOthers(t, db)
	if err := db.Write(t.Context(), increment); err != nil {
		t.Errorf("after the cut: %v", err)
	}
	tries := 0
	err := db.Write(t.Context(), func(ctx context.Context, tx *Tx) error {
		if tries++; tries == 1 {
			terminateOthers(t, db)
		}
		return increment(ctx, tx)
	})
	if err != nil || tries != 2 {
		t.Errorf("cut in the middle: %d tries, %v", tries, err)
	}
	if n := count(t, db, "SELECT n FROM counters WHERE id = $1", 1); n != 2 {
		t.Errorf("n = %d, want 2", n)
	}
}

// Fault 35: one broken connection, or one to a server that has become a standby,
// takes the unused ones with it, since they lead to the same place.
func TestBrokenConnectionEmptiesPool(t *testing.T) {
	t.Parallel()
	for _, c := range []class{classLost, classReadOnly} {
		db := open(t, Config{URL: dbtest.Postgres(t)})
		fillPool(t, db, 4)
		failures := 1
		_ = db.retry(short(t, time.Minute), func() error {
			if failures--; failures < 0 {
				return nil
			}
			return failedAs(c, "test", errTest)
		})
		if idle := db.Stats()[0].Idle; idle != 0 {
			t.Errorf("class %d: %d connections stay", c, idle)
		}
		fillPool(t, db, 4)
		if idle := db.Stats()[0].Idle; idle != 4 {
			t.Errorf("class %d: %d connections kept afterwards", c, idle)
		}
	}
}

// fillPool uses as many connections at once as there may be.
func fillPool(t *testing.T, db *DB, conns int) {
	t.Helper()
	var meet sync.WaitGroup
	meet.Add(conns)
	var group errgroup.Group
	for range conns {
		group.Go(func() error {
			return db.Read(t.Context(), func(context.Context, *Tx) error {
				meet.Done()
				meet.Wait()
				return nil
			})
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

// terminateOthers ends all sessions on the database of db, from another one.
func terminateOthers(t *testing.T, db *DB) {
	t.Helper()
	other := open(t, Config{URL: db.target.dsn})
	count(t, other, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
	if err := other.Close(); err != nil {
		t.Error(err)
	}
}

// Fault 36: a connection that breaks during COMMIT is reported as unknown, and the
// transaction is not run twice.
func TestCommitUnknown(t *testing.T) {
	t.Parallel()
	db := counters(t, Config{URL: dbtest.Postgres(t)})
	mustExec(t, db, "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$")
	mustExec(t, db, "CREATE CONSTRAINT TRIGGER die AFTER UPDATE ON counters DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die()")
	tries := 0
	err := db.Write(t.Context(), func(ctx context.Context, tx *Tx) error {
		tries++
		return increment(ctx, tx)
	})
	if !errors.Is(err, ErrCommitUnknown) || !IsUnavailable(err) || tries != 1 {
		t.Errorf("%d tries, err = %v", tries, err)
	}
}

// So is one that breaks during a statement that commits by itself, but not during one that only reads.
func TestStatementUnknown(t *testing.T) {
	t.Parallel()
	db := counters(t, Config{URL: dbtest.Postgres(t), QueryTimeout: time.Second})
	const dies = "CASE WHEN pg_terminate_backend(pg_backend_pid()) THEN pg_sleep(10) IS NULL END"
	for query, unknown := range map[string]bool{
		"UPDATE counters SET n = n + 1 WHERE " + dies + " RETURNING n": true,
		"SELECT n FROM counters WHERE " + dies:                         false,
	} {
		rows, err := db.DBTX().QueryContext(t.Context(), query)
		if err == nil {
			defer rows.Close()
			t.Errorf("%s succeeds: %v", query, rows.Err())
		}
		if errors.Is(err, ErrCommitUnknown) != unknown || !IsUnavailable(err) {
			t.Errorf("%s: %v", query, err)
		}
	}
}

// So is one whose context is canceled while the server runs it.
func TestCanceledStatementUnknown(t *testing.T) {
	t.Parallel()
	db := counters(t, Config{URL: dbtest.Postgres(t)})
	const query = "UPDATE counters SET n = n + 1 WHERE pg_sleep(10) IS NOT NULL"
	for name, run := range map[string]func(ctx context.Context, query string) error{
		"Exec":      func(ctx context.Context, query string) error { _, err := db.Exec(ctx, query); return err },
		"Batch":     func(ctx context.Context, query string) error { return db.Batch(ctx, Statement{SQL: query}) },
		"DBTX.Exec": func(ctx context.Context, query string) error { _, err := db.DBTX().ExecContext(ctx, query); return err },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() { result <- run(ctx, query+" /* "+name+" */") }()
		running := "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query LIKE '%/* " + name + " */%' AND pid <> pg_backend_pid()"
		for count(t, db, running) == 0 {
			runtime.Gosched()
		}
		cancel()
		if err := <-result; !errors.Is(err, ErrCommitUnknown) || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Fault 35: a server that has become read-only is not ready.
func TestCheckReadOnlyServer(t *testing.T) {
	t.Parallel()
	db := open(t, Config{URL: dbtest.Postgres(t) + "&default_transaction_read_only=on"})
	if err := db.Check(t.Context()); !IsUnavailable(err) || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("Check: %v", err)
	}
	if _, err := db.Exec(t.Context(), "CREATE TABLE x (i int)"); !IsUnavailable(err) {
		t.Errorf("Exec: %v", err)
	}
}

func TestPostgresSession(t *testing.T) {
	t.Parallel()
	db := open(t, Config{URL: dbtest.Postgres(t), QueryTimeout: 3 * time.Second, ApplicationName: "authd"})
	var name, limit string
	err := db.QueryRow(t.Context(), "SELECT current_setting('application_name'), current_setting('statement_timeout')").Scan(&name, &limit)
	if err != nil || name != "authd" || limit != "4s" {
		t.Errorf("application_name = %q, statement_timeout = %q, %v", name, limit, err)
	}
}

func TestErrorsOutsideThisPackageAreNotUnavailable(t *testing.T) {
	t.Parallel()
	for _, err := range []error{nil, context.DeadlineExceeded, os.ErrPermission, &net.OpError{Err: os.ErrDeadlineExceeded}} {
		if IsUnavailable(err) {
			t.Errorf("IsUnavailable(%v)", err)
		}
	}
}

func TestIsForeignKey(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		db := counters(t, c)
		mustExec(t, db, "CREATE TABLE parts (id BIGINT PRIMARY KEY REFERENCES counters (id))")
		for id, want := range map[int]bool{1: false, 2: true} {
			if _, err := db.Exec(t.Context(), "INSERT INTO parts (id) VALUES ($1)", id); IsForeignKey(err) != want || (err != nil) != want {
				t.Errorf("%d: %v", id, err)
			}
		}
		if _, err := db.Exec(t.Context(), "INSERT INTO parts (id) VALUES (1)"); err == nil || IsForeignKey(err) {
			t.Errorf("a unique constraint: %v", err)
		}
	})
}
