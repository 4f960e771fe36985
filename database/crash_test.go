package database

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/chassi-go/chassi/internal/dbtest"
)

// runJob is what a child process does; it returns the exit code.
func runJob(job string) int {
	err := fmt.Errorf("no job %q", job)
	switch url := os.Getenv("DATABASE_TEST_URL"); job {
	case "write":
		err = writeForever(url)
	case "increment":
		err = incrementMany(url)
	case "migrate":
		err = migrateOnce(url)
	case "full":
		err = checkFullDisk(url)
	case "unprivileged":
		err = openUnprivileged(url)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// writeForever inserts rows and prints the ID of each one that is stored.
func writeForever(url string) error {
	ctx := context.Background()
	db, err := Open(ctx, Config{URL: url})
	if err != nil {
		return err
	}
	for {
		var id int64
		err := db.Write(ctx, func(ctx context.Context, tx *Tx) error {
			const insert = "INSERT INTO rows (id, body) SELECT coalesce(max(id), 0) + 1, $1 FROM rows RETURNING id"
			return tx.QueryRow(ctx, insert, strings.Repeat("x", 500)).Scan(&id)
		})
		if err != nil {
			return err
		}
		if _, err := fmt.Println(id); err != nil {
			return err
		}
	}
}

const childIncrements = 50

func incrementMany(url string) error {
	ctx := context.Background()
	db, err := Open(ctx, Config{URL: url})
	if err != nil {
		return err
	}
	for range childIncrements {
		if err := db.Write(ctx, increment); err != nil {
			return err
		}
	}
	return db.Close()
}

func migrateOnce(url string) error {
	ctx := context.Background()
	db, err := Open(ctx, Config{URL: url})
	if err != nil {
		return err
	}
	_, err = db.Migrate(ctx, migrations(twoFiles))
	return err
}

// openUnprivileged opens as a user other than root, because permissions do not apply to root.
func openUnprivileged(url string) error {
	if os.Getuid() == 0 {
		if err := syscall.Setuid(65534); err != nil {
			return err
		}
	}
	_, err := Open(context.Background(), Config{URL: url})
	fmt.Println(IsUnavailable(err), err)
	return nil
}

// Fault 40: a process that is killed while it writes loses nothing that it
// reported as stored, and leaves a sound file.
func TestKill9LosesNothing(t *testing.T) {
	t.Parallel()
	url := dbtest.SQLite(t)
	db := open(t, Config{URL: url})
	mustExec(t, db, "CREATE TABLE rows (id BIGINT PRIMARY KEY, body TEXT)")
	last := 0
	for round := range 10 {
		last = max(last, killedWriter(t, url, 5+7*round))
		// A fresh handle, so that it recovers the log as a new process would.
		after := open(t, Config{URL: url})
		var sound string
		if err := after.QueryRow(t.Context(), "PRAGMA integrity_check").Scan(&sound); err != nil || sound != "ok" {
			t.Fatalf("round %d: integrity_check: %s, %v", round, sound, err)
		}
		if n := count(t, after, "SELECT count(*) FROM rows WHERE id <= $1", last); n != int64(last) {
			t.Fatalf("round %d: %d of %d acknowledged rows", round, n, last)
		}
		mustExec(t, after, "UPDATE rows SET body = 'seen' WHERE id = $1", last)
	}
}

// killedWriter kills a writer after it has acknowledged some rows, and returns the
// last ID that it acknowledged.
func killedWriter(t *testing.T, url string, acks int) (last int) {
	t.Helper()
	cmd := child(t, "write", url)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for n := 0; ; n++ {
		line, err := lines.ReadString('\n')
		if err == io.EOF { // a line cut short is no acknowledgement
			break
		}
		if last, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
			t.Fatal(err)
		}
		if n == acks {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("the writer ended by itself")
	}
	return last
}

// Fault 40: locks of other processes reach no caller either.
func TestWriteInSeveralProcesses(t *testing.T) {
	t.Parallel()
	url := dbtest.SQLite(t)
	db := counters(t, Config{URL: url})
	var group errgroup.Group
	for range 2 {
		group.Go(func() error {
			out, err := child(t, "increment", url).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
	}
	for range 64 {
		group.Go(func() error { return db.Write(t.Context(), increment) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, "SELECT n FROM counters WHERE id = $1", 1); n != 64+2*childIncrements {
		t.Errorf("n = %d, want %d", n, 64+2*childIncrements)
	}
}
