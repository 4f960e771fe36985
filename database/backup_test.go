package database

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chassi-go/chassi/internal/dbtest"
)

// A copy made while others write is one state: it has all that was committed before, its
// rows belong together, and it is one file that needs no log.
func TestCopyWhileOthersWrite(t *testing.T) {
	t.Parallel()
	c := Config{URL: dbtest.SQLite(t)}
	db := open(t, c)
	mustExec(t, db, "CREATE TABLE a (id INTEGER PRIMARY KEY, fill BLOB NOT NULL)")
	mustExec(t, db, "CREATE TABLE b (id INTEGER PRIMARY KEY REFERENCES a (id))")
	insert := func(ctx context.Context, id int64) error {
		return db.Write(ctx, func(ctx context.Context, tx *Tx) error {
			if _, err := tx.Exec(ctx, "INSERT INTO a (id, fill) VALUES ($1, randomblob(4000))", id); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "INSERT INTO b (id) VALUES ($1)", id)
			return err
		})
	}
	for id := range int64(1000) { // 4 MB: several steps
		if err := insert(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	var committed atomic.Int64
	committed.Store(1000)
	var load sync.WaitGroup
	load.Go(func() {
		for ctx.Err() == nil {
			if err := insert(t.Context(), committed.Load()); err != nil {
				t.Error(err)
				return
			}
			committed.Add(1)
		}
	})
	for range 3 {
		path := filepath.Join(t.TempDir(), "copy.db")
		before := committed.Load()
		copied, err := Copy(t.Context(), c, path)
		if err != nil {
			t.Fatal(err)
		}
		if n := copied.Rows["a"]; n < before || n != copied.Rows["b"] || time.Since(copied.At) < 0 {
			t.Errorf("%+v, want at least %d rows", copied, before)
		}
		if left := listFolder(t, filepath.Dir(path)); len(left) != 1 {
			t.Errorf("the copy is %v, want one file", left)
		}
		got := open(t, Config{URL: "sqlite:" + path})
		if err := got.CheckIntegrity(t.Context()); err != nil {
			t.Error(err)
		}
		if n := count(t, got, "SELECT max(id) + 1 FROM b"); n != copied.Rows["a"] {
			t.Errorf("%d rows, want %d without a gap", n, copied.Rows["a"])
		}
	}
	atEnd := committed.Load()
	stop()
	load.Wait()
	if atEnd <= 1000 {
		t.Error("nothing was written meanwhile: the test proves nothing")
	}
}

func TestCopyRejectsOtherDatabases(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	to := filepath.Join(dir, "copy.db")
	if _, err := Copy(t.Context(), Config{URL: "sqlite:" + filepath.Join(dir, "missing.db")}, to); !errors.Is(err, ErrMissing) {
		t.Errorf("missing: %v", err)
	}
	for _, url := range []string{"sqlite::memory:", "postgres://127.0.0.1/x"} {
		if _, err := Copy(t.Context(), Config{URL: url}, to); !errors.Is(err, ErrNotSQLite) {
			t.Errorf("%s: %v", url, err)
		}
	}
	if left := listFolder(t, dir); len(left) != 0 {
		t.Errorf("left %v behind", left)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := Config{URL: dbtest.SQLite(t)}
	counters(t, c)
	if _, err := Copy(ctx, c, to); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// A file with a changed byte in a page is no database that anything is copied from.
func TestCopyFindsDamage(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	c := Config{URL: "sqlite:" + path}
	db, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, db, "CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)")
	for i := range 500 {
		mustExec(t, db, "INSERT INTO names (id, name) VALUES ($1, hex(randomblob(20)))", i)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 3*4096 + 2000; i < 3*4096+2400; i++ {
		text[i] ^= 0xff
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Copy(t.Context(), c, filepath.Join(t.TempDir(), "copy.db")); err == nil {
		t.Error("a damaged file was copied without a word")
	}
	if err := open(t, c).CheckIntegrity(t.Context()); err == nil {
		t.Error("damage was not found")
	}
}

func TestInUse(t *testing.T) {
	t.Parallel()
	c := Config{URL: dbtest.SQLite(t)}
	if _, err := InUse(t.Context(), c); !errors.Is(err, ErrMissing) {
		t.Errorf("missing: %v", err)
	}
	db, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if used, err := InUse(t.Context(), c); !used || err != nil {
		t.Errorf("open: %v, %v", used, err)
	}
	mustExec(t, db, "CREATE TABLE counters (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)")
	if used, err := InUse(t.Context(), c); !used || err != nil {
		t.Errorf("open, written to: %v, %v", used, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if used, err := InUse(t.Context(), c); used || err != nil {
		t.Errorf("closed: %v, %v", used, err)
	}
}
