package database

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chassi-go/chassi/internal/dbtest"
)

// R97: opening for reading does not create a missing database.
func TestOpenOfAMissingFileCreatesNothing(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(context.Context, Config) (*DB, error){"existing": OpenExisting, "read only": OpenReadOnly} {
		dir := t.TempDir()
		_, err := open(t.Context(), Config{URL: "sqlite:" + filepath.Join(dir, "missing.db")})
		if !errors.Is(err, ErrMissing) || IsUnavailable(err) || !strings.Contains(err.Error(), "missing.db") {
			t.Errorf("%s: %v, want ErrMissing and the path", name, err)
		}
		if left := listFolder(t, dir); len(left) != 0 {
			t.Errorf("%s: left %v behind", name, left)
		}
	}
}

func listFolder(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A database that is opened to be read keeps its content, and its folder the files it had.
func TestOpenReadOnlyWritesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	writer, err := Open(t.Context(), Config{URL: "sqlite:" + path})
	if err != nil {
		t.Fatal(err)
	}
	mustExec(t, writer, "CREATE TABLE counters (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)")
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	db, err := OpenReadOnly(t.Context(), Config{URL: "sqlite:" + path})
	if err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, "SELECT count(*) FROM counters"); n != 0 {
		t.Errorf("%d rows", n)
	}
	for what, write := range map[string]func() error{
		"Exec":  func() error { _, err := db.Exec(t.Context(), "INSERT INTO counters VALUES (1, 1)"); return err },
		"Query": func() error { return db.QueryRow(t.Context(), "DELETE FROM counters RETURNING n").Scan(new(int64)) },
	} {
		if err := write(); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("%s writes: %v", what, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	after, err := os.ReadFile(path)
	if err != nil || string(after) != string(before) {
		t.Errorf("the file has changed; %v", err)
	}
	if left := listFolder(t, filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left %v behind", left)
	}
}

func TestCheckSchema(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		db := open(t, c)
		one := map[string]string{"00001_one.sql": "CREATE TABLE one (id BIGINT PRIMARY KEY);"}
		two := map[string]string{"00001_one.sql": one["00001_one.sql"], "00002_two.sql": "CREATE TABLE two (id BIGINT PRIMARY KEY);"}
		check := func(what string, files map[string]string, want SchemaError) {
			t.Helper()
			err := db.CheckSchema(t.Context(), migrations(files))
			if got, ok := errors.AsType[*SchemaError](err); !ok || *got != want {
				t.Errorf("%s: %v, want %+v", what, err, want)
			}
		}
		check("empty", two, SchemaError{Have: 0, Want: 2, Pending: true})
		if _, err := db.Migrate(t.Context(), migrations(one)); err != nil {
			t.Fatal(err)
		}
		check("older", two, SchemaError{Have: 1, Want: 2, Pending: true})
		if _, err := db.Migrate(t.Context(), migrations(two)); err != nil {
			t.Fatal(err)
		}
		if err := db.CheckSchema(t.Context(), migrations(two)); err != nil {
			t.Errorf("the same: %v", err)
		}
		check("newer", one, SchemaError{Have: 2, Want: 1, Newer: true})
	})
}

// R100: after a checkpoint and after a clean end the file alone is complete.
func TestTheFileAloneIsCompleteAfterCheckpointAndClose(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	copyOf := func() string {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(t.TempDir(), "copy.db")
		if err := os.WriteFile(to, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return "sqlite:" + to
	}
	db := counters(t, Config{URL: "sqlite:" + path})
	if err := db.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, open(t, Config{URL: copyOf()}), "SELECT count(*) FROM counters"); n != 1 {
		t.Errorf("after a checkpoint: %d rows, want 1", n)
	}
	mustExec(t, db, "INSERT INTO counters VALUES (2, 2)")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if n := count(t, open(t, Config{URL: copyOf()}), "SELECT count(*) FROM counters"); n != 2 {
		t.Errorf("after Close: %d rows, want 2", n)
	}
}

func TestCheckpointElsewhereDoesNothing(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"sqlite::memory:", dbtest.Postgres(t)} {
		if err := open(t, Config{URL: url}).Checkpoint(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// OpenUncreated leaves nothing behind: the file is created by Create alone.
func TestOpenUncreated(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := Config{URL: "sqlite:" + filepath.Join(dir, "a.db")}
	db, err := OpenUncreated(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(t.Context(), "CREATE TABLE t (n int)"); err == nil {
		t.Error("a statement before Create succeeded")
	}
	if err := db.Checkpoint(t.Context()); err != nil {
		t.Errorf("Checkpoint: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("there is something: %v, %v", entries, err)
	}
	for range 2 { // the second one does nothing
		if err := db.Create(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "a.db")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := db.Exec(t.Context(), "CREATE TABLE t (n int)"); err != nil {
		t.Error(err)
	}
	again, err := OpenUncreated(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if _, err := again.Exec(t.Context(), "INSERT INTO t VALUES (1)"); err != nil {
		t.Errorf("a file that exists: %v", err)
	}
	if _, err := OpenUncreated(t.Context(), Config{URL: "sqlite:" + filepath.Join(dir, "no", "a.db")}); err == nil || !strings.Contains(err.Error(), "does not exist; create it or change database.url") {
		t.Errorf("without a directory: %v", err)
	}
}
