package slowdisk_test

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/load/slowdisk"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, url string) *database.DB {
	t.Helper()
	db, err := database.Open(t.Context(), database.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// waits runs what can be done with a table, and returns how often each waited.
func waits(t *testing.T, db *database.DB, count func() int64) map[string]int64 {
	t.Helper()
	exec := func(relaxed bool, query string) func() error {
		return func() error {
			write := db.Write
			if relaxed {
				write = db.WriteRelaxed
			}
			return write(t.Context(), func(ctx context.Context, tx *database.Tx) error {
				_, err := tx.Exec(ctx, query)
				return err
			})
		}
	}
	if err := exec(false, "CREATE TABLE notes (id INTEGER NOT NULL PRIMARY KEY, body TEXT NOT NULL)")(); err != nil {
		t.Fatal(err)
	}
	result := make(map[string]int64)
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"insert", exec(false, "INSERT INTO notes (id, body) VALUES (1, 'a')")},
		{"insert relaxed", exec(true, "INSERT INTO notes (id, body) VALUES (2, 'b')")},
		{"update", exec(false, "UPDATE notes SET body = 'c' WHERE id = 1")},
		{"update of nothing", exec(false, "UPDATE notes SET body = 'c' WHERE id = 3")},
		{"taken", func() error { _ = exec(false, "INSERT INTO notes (id, body) VALUES (1, 'a')")(); return nil }},
		{"read", func() error {
			var n int
			return db.QueryRow(t.Context(), "SELECT count(*) FROM notes").Scan(&n)
		}},
		{"delete", exec(false, "DELETE FROM notes")},
	} {
		before := count()
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		result[step.name] = count() - before
	}
	return result
}

func check(t *testing.T, got map[string]int64) {
	t.Helper()
	for name, want := range map[string]int64{"insert": 1, "insert relaxed": 0, "update": 1, "update of nothing": 0, "taken": 0, "read": 0, "delete": 1} {
		if got[name] != want {
			t.Errorf("%s: waited %d times for the disk, want %d", name, got[name], want)
		}
	}
}

func TestSQLiteWaitsForTheDiskOnlyWhereItMust(t *testing.T) {
	t.Parallel()
	disk, err := slowdisk.SQLite()
	if err != nil {
		t.Fatal(err)
	}
	db := open(t, dbtest.SQLite(t))
	written := disk.Writes()
	check(t, waits(t, db, disk.Syncs))
	if disk.Writes() == written {
		t.Error("nothing was written")
	}
}

func TestPostgresWaitsForTheDiskOnlyWhereItMust(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(dbtest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	disk, err := slowdisk.Postgres(t.Context(), u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	u.Host = disk.Addr()
	db := open(t, u.String())
	check(t, waits(t, db, disk.Commits))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	statements := disk.Statements()
	if !slices.Contains(statements, "SELECT count(*) FROM notes") || !slices.ContainsFunc(statements, func(s string) bool { return strings.EqualFold(s, "commit") }) {
		t.Errorf("saw %q", statements)
	}
	if again := disk.Statements(); len(again) != 0 {
		t.Errorf("and again %q", again)
	}
}

func TestPostgresProxyEndsWithItsConnections(t *testing.T) {
	t.Parallel()
	disk, err := slowdisk.Postgres(t.Context(), "127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	db := open(t, "postgres://postgres@"+disk.Addr()+"/postgres?sslmode=disable&connect_timeout=1")
	if err := db.Check(t.Context()); !database.IsUnavailable(err) {
		t.Errorf("without a server: %v", err)
	}
	if err := disk.Close(); err != nil {
		t.Error(err)
	}
}
