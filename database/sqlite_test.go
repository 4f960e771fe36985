package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/google/go-cmp/cmp"
)

func TestSQLiteFilesAreForTheOwnerOnly(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "odd name %41 & ü+.db")
	db := counters(t, Config{URL: "sqlite:" + path})
	if _, err := db.Migrate(t.Context(), migrations(twoFiles)); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm", "-migrate"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			t.Error(err)
		} else if info.Mode() != 0o600 {
			t.Errorf("%s: mode %v", suffix, info.Mode())
		}
	}
}

func TestSQLiteSettings(t *testing.T) {
	t.Parallel()
	db := open(t, Config{URL: dbtest.SQLite(t)})
	for _, test := range []struct {
		pool         *sql.DB
		pragma, want string
	}{
		{db.writer, "journal_mode", "wal"},
		{db.writer, "synchronous", "2"}, // FULL
		{db.writer, "foreign_keys", "1"},
		{db.writer, "query_only", "0"},
		{db.reader, "query_only", "1"},
	} {
		var got string
		if err := test.pool.QueryRowContext(t.Context(), "PRAGMA "+test.pragma).Scan(&got); err != nil || got != test.want {
			t.Errorf("%s = %q, want %q; %v", test.pragma, got, test.want, err)
		}
	}
	_, err := db.Exec(t.Context(), `SELECT "text in double quotes"`)
	if err == nil {
		t.Error(`double quotes make text: PostgreSQL would take it for a column`)
	}
}

func TestOpenSQLiteFails(t *testing.T) {
	t.Parallel()
	junk := filepath.Join(t.TempDir(), "junk")
	if err := os.WriteFile(junk, []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing", "x.db")
	for _, test := range []struct{ path, want string }{
		{missing, filepath.Dir(missing) + " does not exist"},
		{junk, "not a database"},
		{t.TempDir(), "unable to open"},
	} {
		_, err := Open(t.Context(), Config{URL: "sqlite:" + test.path})
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), filepath.Dir(test.path)) {
			t.Errorf("Open(%s): %v, want %q", test.path, err, test.want)
		}
	}
	if _, err := Open(t.Context(), Config{URL: "sqlite:" + missing}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("err = %v", err)
	}
}

// T56: the error distinguishes a directory without write permission from a wrong path.
func TestOpenSQLiteWithoutRights(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	out, err := child(t, "unprivileged", "sqlite:"+filepath.Join(dir, "x.db")).CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "true database: open: cannot create the file") {
		t.Errorf("%s%v", out, err)
	}
}

// A writer that waits for a lock of another handle ends with its context, and not
// when SQLite would stop waiting; meanwhile reading goes on.
func TestSQLiteWriterWaitsUntilDeadline(t *testing.T) {
	t.Parallel()
	url := dbtest.SQLite(t)
	db, other := counters(t, Config{URL: url}), open(t, Config{URL: url})
	err := other.Write(t.Context(), func(ctx context.Context, _ *Tx) error {
		start := time.Now()
		err := db.Write(short(t, 200*time.Millisecond), increment)
		if !IsUnavailable(err) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err = %v", err)
		}
		if late := time.Since(start); late > 3*time.Second {
			t.Errorf("returned after %v", late)
		}
		if n := count(t, db, "SELECT n FROM counters"); n != 0 {
			t.Errorf("n = %d", n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := db.Write(t.Context(), increment); err != nil {
		t.Error(err)
	}
}

// Data in memory belongs to one handle, is seen by all its connections, and outlives
// a connection that was interrupted or closed.
func TestMemoryIsPerHandle(t *testing.T) {
	t.Parallel()
	one, two := counters(t, Config{URL: "sqlite::memory:"}), counters(t, Config{URL: "sqlite::memory:"})
	mustExec(t, one, "UPDATE counters SET n = 1")
	err := one.Write(short(t, 100*time.Millisecond), func(ctx context.Context, tx *Tx) error {
		var n int
		return tx.QueryRow(ctx, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n").Scan(&n)
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err = %v", err)
	}
	mustExec(t, one, "UPDATE counters SET n = n + 1") // the writer is free again
	one.reader.SetMaxIdleConns(-1)
	one.writer.SetMaxIdleConns(-1) // close all connections but the anchor
	if a, b := count(t, one, "SELECT n FROM counters"), count(t, two, "SELECT n FROM counters"); a != 2 || b != 0 {
		t.Errorf("n = %d and %d", a, b)
	}
}

// The cache of statements stays bounded, survives a change of the schema, and gives
// two runs of one text at once a statement each.
func TestStatementCache(t *testing.T) {
	t.Parallel()
	db := counters(t, Config{URL: dbtest.SQLite(t)})
	mustExec(t, db, "INSERT INTO counters VALUES ($1, $2)", 2, 0)
	err := db.Write(t.Context(), func(ctx context.Context, tx *Tx) error {
		const query = "SELECT id FROM counters ORDER BY id"
		outer, err := tx.Query(ctx, query)
		if err != nil {
			return err
		}
		defer func() { _ = outer.Close() }()
		var ids []int
		for outer.Next() {
			var a, b int
			if err := errors.Join(outer.Scan(&a), tx.QueryRow(ctx, query).Scan(&b)); err != nil {
				return err
			}
			ids = append(ids, a, b)
		}
		if diff := cmp.Diff([]int{1, 1, 2, 1}, ids); diff != "" {
			t.Error(diff)
		}
		return outer.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, db, "ALTER TABLE counters ADD COLUMN extra BIGINT NOT NULL DEFAULT 7")
	if n := count(t, db, "SELECT extra FROM counters WHERE id = $1", 1); n != 7 {
		t.Errorf("extra = %d", n)
	}
	for i := range 3 * maxStatements {
		mustExec(t, db, fmt.Sprintf("UPDATE counters SET n = %d", i))
	}
	if kept := idleStatements(t, db.writer); kept != maxStatements {
		t.Errorf("%d statements kept, want %d", kept, maxStatements)
	}
}

func idleStatements(t *testing.T, pool *sql.DB) (n int) {
	t.Helper()
	conn, err := pool.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = conn.Raw(func(c any) error { n = len(c.(*cachingConn).idle); return nil })
	if err := errors.Join(err, conn.Close()); err != nil {
		t.Fatal(err)
	}
	return n
}
