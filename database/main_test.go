package database

import (
	"context"
	"os"
	"testing"
	"testing/fstest"
	"time"

	"github.com/chassi-go/chassi/internal/dbtest"
	"go.uber.org/goleak"
)

// TestMain runs the tests, or, in a child process that a test started, one job.
func TestMain(m *testing.M) {
	if job := os.Getenv("DATABASE_TEST_JOB"); job != "" {
		os.Exit(runJob(job))
	}
	goleak.VerifyTestMain(m)
}

// engines runs test on each engine, with the configuration of an empty database.
func engines(t *testing.T, test func(t *testing.T, c Config)) {
	t.Helper()
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) { t.Parallel(); test(t, Config{URL: dbtest.SQLite(t)}) })
	t.Run("memory", func(t *testing.T) { t.Parallel(); test(t, Config{URL: "sqlite::memory:"}) })
	t.Run("postgres", func(t *testing.T) { t.Parallel(); test(t, Config{URL: dbtest.Postgres(t)}) })
	t.Run("pgbouncer", func(t *testing.T) { t.Parallel(); test(t, Config{URL: dbtest.PgBouncer(t)}) })
}

func open(t testing.TB, c Config) *DB {
	t.Helper()
	db, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// counters is a database with the table counters and one row, n = 0.
func counters(t testing.TB, c Config) *DB {
	t.Helper()
	db := open(t, c)
	mustExec(t, db, "CREATE TABLE counters (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)")
	mustExec(t, db, "INSERT INTO counters (id, n) VALUES ($1, $2)", 1, 0)
	return db
}

func mustExec(t testing.TB, db *DB, query string, args ...any) {
	t.Helper()
	if _, err := db.Exec(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func count(t testing.TB, db *DB, query string, args ...any) (n int64) {
	t.Helper()
	if err := db.QueryRow(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// increment reads and writes in two statements, so that it loses updates wherever
// transactions are not serializable.
func increment(ctx context.Context, tx *Tx) error {
	var n int64
	if err := tx.QueryRow(ctx, "SELECT n FROM counters WHERE id = $1", 1).Scan(&n); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "UPDATE counters SET n = $1 WHERE id = $2", n+1, 1)
	return err
}

func short(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func migrations(files map[string]string) fstest.MapFS {
	all := fstest.MapFS{}
	for name, body := range files {
		for _, dialect := range []Dialect{SQLite, Postgres} {
			all[dialect.String()+"/"+name] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + body + "\n")}
		}
	}
	return all
}
