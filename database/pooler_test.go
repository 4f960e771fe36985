package database

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/internal/dbtest"
)

// A PgBouncer that refuses our parameters at the start, one that drops them silently, and
// the server itself.
func TestPoolerIsNoticed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		url    func(testing.TB) string
		pooler bool
	}{
		"refuses parameters": {func(t testing.TB) string { return dbtest.PgBouncer(t) }, true},
		"drops parameters": {func(t testing.TB) string {
			return dbtest.PgBouncer(t, "ignore_startup_parameters = statement_timeout, idle_in_transaction_session_timeout")
		}, true},
		"direct": {dbtest.Postgres, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := open(t, Config{URL: c.url(t), QueryTimeout: 7 * time.Second})
			if err := db.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := db.connector.behindPooler.Load(); got != c.pooler {
				t.Errorf("behind a pooler: %v, want %v", got, c.pooler)
			}
			for _, setting := range timeoutParameters {
				for kind, transact := range map[string]func(context.Context, func(context.Context, *Tx) error) error{"write": db.Write, "relaxed": db.WriteRelaxed, "read": db.Read} {
					var value string
					err := transact(t.Context(), func(ctx context.Context, tx *Tx) error { return tx.QueryRow(ctx, "SHOW "+setting).Scan(&value) })
					if err != nil || value != "8s" {
						t.Errorf("%s in a transaction (%s): %q, %v, want 8s", setting, kind, value, err)
					}
				}
				// The next client of a pooled connection must not find our settings.
				want := map[bool]string{true: "0", false: "8s"}[c.pooler]
				var value string
				if err := db.QueryRow(t.Context(), "SHOW "+setting).Scan(&value); err != nil || value != want {
					t.Errorf("%s outside of transactions: %q, %v, want %s", setting, value, err, want)
				}
			}
		})
	}
}

// Parameters of the URL take precedence behind a pooler, too.
func TestPoolerTakesTimeoutsOfTheURL(t *testing.T) {
	t.Parallel()
	db := open(t, Config{URL: dbtest.PgBouncer(t) + "&statement_timeout=12345"})
	var value string
	err := db.Read(t.Context(), func(ctx context.Context, tx *Tx) error {
		return tx.QueryRow(ctx, "SHOW statement_timeout").Scan(&value)
	})
	if err != nil || value != "12345ms" {
		t.Errorf("%q, %v, want 12345ms", value, err)
	}
}

// The same statements on few connections of the server, by clients that come and go.
func TestPoolerSharesConnections(t *testing.T) {
	t.Parallel()
	url := dbtest.PgBouncer(t, "default_pool_size = 2")
	first := counters(t, Config{URL: url, MaxOpen: 5})
	for range 3 {
		db, err := Open(t.Context(), Config{URL: url, MaxOpen: 5})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		for range 5 {
			go func() { done <- db.Write(t.Context(), increment) }()
		}
		for range 5 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := count(t, first, "SELECT n FROM counters WHERE id = $1", 1); n != 15 {
		t.Errorf("counted %d, want 15", n)
	}
}

// A migration that waits says for what: the lock's holder can be on another machine, or a
// connection that an older version of the program left locked in a pooler.
func TestMigrateNamesTheHolderOfTheLock(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		url  string
		want []string
	}{
		"sqlite":    {dbtest.SQLite(t), []string{"test.db-migrate"}},
		"postgres":  {dbtest.Postgres(t), []string{"process ", "holder", "idle in transaction since "}},
		"pgbouncer": {dbtest.PgBouncer(t), []string{"process ", "holder", "idle in transaction since "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			holder, db := open(t, Config{URL: c.url, ApplicationName: "holder"}), open(t, Config{URL: c.url})
			db.lockPatience = time.Nanosecond
			err := holdMigrationLock(t, holder, func() {
				_, err := db.Migrate(t.Context(), migrations(twoFiles))
				for _, want := range append(c.want, "another migration of this database is running: waited ") {
					if err == nil || !strings.Contains(err.Error(), want) || !IsUnavailable(err) {
						t.Errorf("err = %v, want %q in it, and IsUnavailable", err, want)
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.Migrate(t.Context(), migrations(twoFiles)); err != nil {
				t.Errorf("once it is free: %v", err)
			}
		})
	}
}

// A lock of a session would stay on the connection that the pooler keeps, and the next node
// would wait for it.
func TestMigrateLeavesNoLockInAPooler(t *testing.T) {
	t.Parallel()
	db := open(t, Config{URL: dbtest.PgBouncer(t)})
	if _, err := db.Migrate(t.Context(), migrations(twoFiles)); err != nil {
		t.Fatal(err)
	}
	locks := count(t, db, `SELECT count(*) FROM pg_locks
		WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
	if locks != 0 {
		t.Errorf("%d advisory locks are held after the migration", locks)
	}
}

// The lock's transaction is idle and has no snapshot, which CREATE INDEX CONCURRENTLY would
// wait for.
func TestMigrateCreatesAnIndexConcurrently(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{"postgres": dbtest.Postgres(t), "pgbouncer": dbtest.PgBouncer(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := migrations(map[string]string{"00001_things.sql": twoFiles["00001_things.sql"], "00002_index.sql": "CREATE INDEX CONCURRENTLY things_id ON things (id);"})
			files["postgres/00002_index.sql"].Data = append([]byte("-- +goose NO TRANSACTION\n"), files["postgres/00002_index.sql"].Data...)
			db := open(t, Config{URL: url})
			if _, err := db.Migrate(t.Context(), files); err != nil {
				t.Error(err)
			}
		})
	}
}
