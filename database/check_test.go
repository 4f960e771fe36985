package database

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/internal/proxytest"
)

// forget resets the recorded outcomes, as if db had been idle for long.
func (h *health) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.durable, h.wrote, h.answered, h.refused, h.late = time.Time{}, time.Time{}, time.Time{}, nil, nil
}

// fullDisk checks a database while its disk is full and when it is not any more. No call
// has failed before.
func fullDisk(ctx context.Context, db *DB, fill, free func() error) error {
	if err := db.Check(ctx); err != nil {
		return fmt.Errorf("with a free connection: %w", err)
	}
	if err := fill(); err != nil {
		return err
	}
	db.health.forget()
	if err := db.Check(ctx); !IsUnavailable(err) {
		return fmt.Errorf("on a full disk: %w", err)
	}
	if _, err := db.Exec(ctx, "UPDATE counters SET n = n + 1"); !IsUnavailable(err) {
		return fmt.Errorf("a call on a full disk: %w", err)
	}
	if err := free(); err != nil {
		return err
	}
	if _, err := db.Exec(ctx, "UPDATE counters SET n = n + 1"); err != nil {
		return fmt.Errorf("a call with a free connection again: %w", err)
	}
	if err := db.Check(ctx); err != nil {
		return fmt.Errorf("with a free connection again: %w", err)
	}
	return nil
}

// R95: on a full disk the probe fails as the calls do, though no call has failed yet.
func TestCheckOnAFullDisk(t *testing.T) {
	t.Parallel()
	t.Run("tmpfs", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		if err := syscall.Mount("none", dir, "tmpfs", 0, "size=256k"); err != nil {
			t.Skipf("a file system of its own needs root: %v", err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(dir, 0); err != nil {
				t.Error(err)
			}
		})
		db := counters(t, Config{URL: "sqlite:" + filepath.Join(dir, "test.db")})
		ballast := filepath.Join(dir, "ballast")
		fill := func() error {
			if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
				return fmt.Errorf("the disk is not full: %w", err)
			}
			return nil
		}
		if err := fullDisk(t.Context(), db, fill, func() error { return os.Remove(ballast) }); err != nil {
			t.Error(err)
		}
	})
	t.Run("file size limit", func(t *testing.T) {
		t.Parallel()
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), "DATABASE_TEST_JOB=full", "DATABASE_TEST_URL="+dbtest.SQLite(t))
		if out, err := child.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// checkFullDisk runs in a process of its own, whose files may not grow.
func checkFullDisk(url string) error {
	ctx := context.Background()
	signal.Ignore(syscall.SIGXFSZ)
	db, err := Open(ctx, Config{URL: url})
	if err != nil {
		return err
	}
	for _, query := range []string{"CREATE TABLE counters (n BIGINT NOT NULL)", "INSERT INTO counters (n) VALUES (0)"} {
		if _, err := db.Exec(ctx, query); err != nil {
			return err
		}
	}
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		return err
	}
	fill := func() error {
		return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 4096, Max: before.Max})
	}
	free := func() error { return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before) }
	return errors.Join(fullDisk(ctx, db, fill, free), db.Close())
}

// While calls are refused for want of space, the check fails though its own page goes
// through; it succeeds with the first call that does.
func TestCheckFailsWhileCallsCannotWrite(t *testing.T) {
	t.Parallel()
	db := counters(t, Config{URL: dbtest.SQLite(t)})
	writerPragma(t, db, "PRAGMA max_page_count = 1")
	if err := db.Check(t.Context()); err != nil {
		t.Errorf("before a call: %v", err)
	}
	if _, err := db.Exec(t.Context(), "CREATE TABLE big AS SELECT randomblob(100000) AS b"); !IsUnavailable(err) {
		t.Errorf("err = %v", err)
	}
	if err := db.Check(t.Context()); !IsUnavailable(err) || !strings.Contains(err.Error(), "full") {
		t.Errorf("after it: %v", err)
	}
	mustExec(t, db, "DELETE FROM counters WHERE n = 1000")
	mustExec(t, db, "UPDATE counters SET n = 5 WHERE n = 1000")
	if err := db.Write(t.Context(), func(context.Context, *Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := db.Check(t.Context()); !IsUnavailable(err) {
		t.Errorf("after calls that needed no space: %v", err)
	}
	mustExec(t, db, "UPDATE counters SET n = 5")
	if err := db.Check(t.Context()); err != nil {
		t.Errorf("after a call that wrote: %v", err)
	}
}

// As above, where the server refuses what takes space and lets other transactions through.
func TestCheckFailsWhilePostgresIsFull(t *testing.T) {
	t.Parallel()
	db := counters(t, Config{URL: dbtest.Postgres(t)})
	mustExec(t, db, `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN RAISE EXCEPTION ''could not extend file: No space left on device'' USING ERRCODE = ''disk_full''; END'`)
	mustExec(t, db, "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON counters EXECUTE FUNCTION refuse()")
	if _, err := db.Exec(t.Context(), "UPDATE counters SET n = 5"); !IsUnavailable(err) {
		t.Fatalf("err = %v", err)
	}
	mustExec(t, db, "DELETE FROM counters WHERE n = 1000")
	err := db.Write(t.Context(), func(ctx context.Context, tx *Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM counters WHERE n = 1000")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Check(t.Context()); !IsUnavailable(err) || !strings.Contains(err.Error(), "No space left") {
		t.Errorf("after calls that needed no space: %v", err)
	}
	mustExec(t, db, "DROP TRIGGER refuse ON counters")
	mustExec(t, db, "UPDATE counters SET n = 5")
	if err := db.Check(t.Context()); err != nil {
		t.Errorf("after a call that wrote: %v", err)
	}
}

// However often it is asked, the check writes at most once in five seconds, and not at all
// after a call that did. What it writes stays in a log that is used again and again.
func TestCheckWritesSeldom(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	db := counters(t, Config{URL: "sqlite:" + path})
	size := func() int64 {
		t.Helper()
		info, err := os.Stat(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	before, began := size(), time.Now()
	for range 100 {
		if err := db.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if after := size(); after != before && time.Since(began) < proofInterval {
		t.Errorf("the log grew from %d to %d bytes after a call that wrote", before, after)
	}
	for range 3000 {
		db.health.forget()
		if err := db.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if after := size(); after == before || after > 5<<20 {
		t.Errorf("the log has %d bytes after 3,000 writes, %d before", after, before)
	}
}

// behindProxy is a database of counters behind a proxy.
func behindProxy(t *testing.T, c Config) (*DB, *proxytest.Proxy) {
	t.Helper()
	u, err := url.Parse(dbtest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	p := proxytest.New(t, u.Host)
	p.Open()
	u.Host = p.Addr
	c.URL = u.String()
	return counters(t, c), p
}

// R93: a database that is slow, and for whose few connections many calls wait, is not taken
// for one that fails, within the time that an App gives a probe.
func TestCheckOfASlowServer(t *testing.T) {
	t.Parallel()
	for _, delay := range []time.Duration{50 * time.Millisecond, 150 * time.Millisecond} {
		t.Run(fmt.Sprint(2*delay), func(t *testing.T) {
			t.Parallel()
			db, p := behindProxy(t, Config{MaxOpen: 2})
			if err := db.Check(t.Context()); err != nil { // connects
				t.Fatal(err)
			}
			p.Delay(delay)
			var calls sync.WaitGroup
			var stop atomic.Bool
			for range 40 {
				calls.Go(func() {
					for !stop.Load() {
						var n int
						_ = db.QueryRow(t.Context(), "SELECT n FROM counters").Scan(&n)
					}
				})
			}
			for range 10 {
				db.health.mu.Lock()
				db.health.durable = time.Time{} // it writes each time
				db.health.mu.Unlock()
				if err := db.Check(short(t, 2*time.Second)); err != nil {
					t.Error(err)
				}
			}
			stop.Store(true)
			calls.Wait()
		})
	}
}

// The check fails while the server or all connections hang, and succeeds afterwards.
func TestCheckOfAServerThatHangs(t *testing.T) {
	t.Parallel()
	db, p := behindProxy(t, Config{})
	p.Stall()
	if err := db.Check(short(t, 100*time.Millisecond)); !IsUnavailable(err) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while it hangs: %v", err)
	}
	p.Resume()
	if err := db.Check(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
