// Package dbtest creates empty databases for tests.
package dbtest

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// Engines runs test as a parallel subtest for SQLite and for PostgreSQL, each with the URL of an
// empty database.
func Engines(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { t.Parallel(); test(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { t.Parallel(); test(t, Postgres(t)) })
}

// SQLite returns the URL of a SQLite file that does not exist yet, in a temporary directory of the
// test.
func SQLite(t testing.TB) string {
	return "sqlite:" + filepath.Join(t.TempDir(), "test.db")
}

// Postgres creates an empty database for the test and returns its URL. The database is on the
// server at the URL in CHASSI_TEST_POSTGRES, by default the local server, and is dropped at the end
// of the test. If there is no server, the test is skipped, or fails if CI=true.
func Postgres(t testing.TB) string {
	t.Helper()
	base := os.Getenv("CHASSI_TEST_POSTGRES")
	if base == "" {
		base = "postgres://postgres@127.0.0.1:5432/postgres?sslmode=disable"
	}
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	server, err := sql.Open("pgx", base)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	if err := server.PingContext(t.Context()); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("PostgreSQL at %s (CHASSI_TEST_POSTGRES): %v", u.Host, err)
		}
		t.Skipf("PostgreSQL at %s (CHASSI_TEST_POSTGRES): %v", u.Host, err)
	}
	name := fmt.Sprintf("chassi_test_%d", rand.Uint64())
	if _, err := server.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := server.ExecContext(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	u.Path = "/" + name
	return u.String()
}

// PostgresWithClock creates an empty database, as [Postgres] does, with a clock that the test can
// set. It returns address, the URL of the database, and set, a function that makes the clock of the
// database run ahead of the server's clock by the given duration. On connections to address, a
// function clock_timestamp() shadows the function of the server.
func PostgresWithClock(t testing.TB) (address string, set func(ahead time.Duration)) {
	t.Helper()
	address = Postgres(t)
	db, err := sql.Open("pgx", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE SCHEMA set_clock;
		CREATE TABLE set_clock.ahead (microseconds BIGINT NOT NULL);
		INSERT INTO set_clock.ahead VALUES (0);
		CREATE FUNCTION set_clock.clock_timestamp() RETURNS TIMESTAMPTZ LANGUAGE SQL VOLATILE AS
			$$ SELECT pg_catalog.clock_timestamp() + microseconds * INTERVAL '1 microsecond' FROM set_clock.ahead $$`)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("search_path", "set_clock,pg_catalog,public")
	u.RawQuery = query.Encode()
	return u.String(), func(ahead time.Duration) {
		t.Helper()
		exec("UPDATE set_clock.ahead SET microseconds = $1", ahead.Microseconds())
	}
}
