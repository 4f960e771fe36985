package database

import (
	"context"
	"errors"
	"testing"
	"testing/fstest"

	"github.com/chassi-go/chassi/internal/dbtest"
)

// A function of OnCommit is called after a commit, once, and not after a rollback.
func TestOnCommit(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		db := open(t, c)
		calls := 0
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(db.Write(t.Context(), func(ctx context.Context, tx *Tx) error {
			tx.OnCommit(func() { calls++ })
			tx.DBTX().(interface{ OnCommit(f func()) }).OnCommit(func() { calls++ })
			if calls > 0 {
				t.Error("called before the commit")
			}
			_, err := tx.ExecContext(ctx, "CREATE TABLE t (n INT)")
			return err
		}))
		rollback := errors.New("rollback")
		err := db.WriteShared(t.Context(), func(_ context.Context, tx *Tx) error {
			tx.OnCommit(func() { calls++ })
			return rollback
		})
		if !errors.Is(err, rollback) || calls != 2 {
			t.Errorf("%v after %d calls, want 2", err, calls)
		}
	})
}

// Shared transactions are READ COMMITTED, others serializable.
func TestSharedIsolation(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{"direct": dbtest.Postgres(t), "pgbouncer": dbtest.PgBouncer(t)} {
		db := open(t, Config{URL: url})
		const query = "SELECT current_setting('transaction_isolation') || ' ' || current_setting('synchronous_commit')"
		read := func(write func(context.Context, func(context.Context, *Tx) error) error) (level string) {
			t.Helper()
			if err := write(t.Context(), func(ctx context.Context, tx *Tx) error { return tx.QueryRow(ctx, query).Scan(&level) }); err != nil {
				t.Fatal(err)
			}
			return level
		}
		if got := read(db.WriteShared); got != "read committed on" {
			t.Errorf("%s: WriteShared is %s", name, got)
		}
		if got := read(db.Write); got != "serializable on" {
			t.Errorf("%s: Write is %s", name, got)
		}
		var level string
		err := db.BatchShared(t.Context(), Statement{SQL: query, Rows: func(c Cursor) error { c.Next(); return c.Scan(&level) }})
		if err != nil || level != "read committed off" {
			t.Errorf("%s: BatchShared is %s, %v", name, level, err)
		}
	}
}

// A listener is called at its start and for each notification, and ends with its context.
func TestListen(t *testing.T) {
	t.Parallel()
	db := open(t, Config{URL: dbtest.Postgres(t)})
	ctx, cancel := context.WithCancel(t.Context())
	got, result := make(chan string, 10), make(chan error, 1)
	go func() { result <- db.Listen(ctx, "a channel", func(payload string) { got <- payload }) }()
	if first := <-got; first != "" {
		t.Errorf("the first call is for %q", first)
	}
	if err := db.Write(t.Context(), func(ctx context.Context, tx *Tx) error {
		_, err := tx.Exec(ctx, "SELECT pg_notify('a channel', 'hello')")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if payload := <-got; payload != "hello" {
		t.Errorf("notified of %q", payload)
	}
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	lite := open(t, Config{URL: dbtest.SQLite(t)})
	if err := lite.Listen(t.Context(), "c", func(string) {}); !errors.Is(err, ErrNoNotifications) {
		t.Errorf("SQLite: %v", err)
	}
}

// Migrations of a library have versions of their own.
func TestMigrateTable(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		db := open(t, c)
		files := func(table string) fstest.MapFS {
			sql := &fstest.MapFile{Data: []byte("-- +goose Up\nCREATE TABLE " + table + " (n INT);\n")}
			return fstest.MapFS{"sqlite/00001_t.sql": sql, "postgres/00001_t.sql": sql}
		}
		for range 2 {
			if _, err := db.MigrateTable(t.Context(), "library_versions", files("library_t")); err != nil {
				t.Fatal(err)
			}
		}
		applied, err := db.Migrate(t.Context(), files("program_t"))
		if err != nil || len(applied) != 1 {
			t.Errorf("%v, %v", applied, err)
		}
		if err := db.CheckSchema(t.Context(), files("program_t")); err != nil {
			t.Error(err)
		}
	})
}
