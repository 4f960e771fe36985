package database

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
)

var twoFiles = map[string]string{
	"00001_things.sql": "CREATE TABLE things (id BIGINT PRIMARY KEY);",
	"00002_seed.sql":   "INSERT INTO things VALUES (1);\nINSERT INTO things VALUES (2);",
}

func TestMigrate(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		db := open(t, c)
		files := migrations(twoFiles)
		if got := states(t, db, twoFiles); got != "00001_things.sql pending, 00002_seed.sql pending" {
			t.Errorf("before: %s", got)
		}
		applied, err := db.Migrate(t.Context(), files)
		if diff := cmp.Diff([]string{"00001_things.sql", "00002_seed.sql"}, applied); diff != "" || err != nil {
			t.Errorf("applied (-want +got): %s%v", diff, err)
		}
		applied, err = db.Migrate(t.Context(), files)
		if len(applied) != 0 || err != nil {
			t.Errorf("again: applied %v, %v", applied, err)
		}
		if got := states(t, db, twoFiles); got != "00001_things.sql applied, 00002_seed.sql applied" {
			t.Errorf("after: %s", got)
		}
	})
}

func states(t *testing.T, db *DB, files map[string]string) string {
	t.Helper()
	list, err := db.Migrations(t.Context(), migrations(files))
	if err != nil {
		t.Fatal(err)
	}
	var states []string
	for _, m := range list {
		state := "applied"
		if m.Applied.IsZero() {
			state = "pending"
		}
		states = append(states, m.Name+" "+state)
	}
	return strings.Join(states, ", ")
}

// T50: nodes that start together on an empty database apply each migration once,
// and none of them fails.
func TestMigrateTogether(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		const nodes = 4
		first := open(t, c)
		handles := []*DB{first, first, first, first}
		for i := 1; i < nodes && c.URL != "sqlite::memory:"; i++ {
			handles[i] = open(t, c)
		}
		applied := make(chan int, nodes)
		var group errgroup.Group
		for _, db := range handles {
			group.Go(func() error {
				names, err := db.Migrate(t.Context(), migrations(twoFiles))
				applied <- len(names)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		if total := <-applied + <-applied + <-applied + <-applied; total != 2 {
			t.Errorf("%d migrations applied in all, want 2", total)
		}
		if n := count(t, first, "SELECT count(*) FROM things"); n != 2 {
			t.Errorf("%d rows, want 2", n)
		}
	})
}

// Two processes, which file locks treat otherwise than two handles of one.
func TestMigrateTogetherInProcesses(t *testing.T) {
	t.Parallel()
	url := dbtest.SQLite(t)
	var group errgroup.Group
	for range 3 {
		group.Go(func() error {
			out, err := child(t, "migrate", url).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := count(t, open(t, Config{URL: url}), "SELECT count(*) FROM things"); n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
}

// The error names an invalid migration, which is rolled back. Earlier migrations are kept.
func TestMigrateFails(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		db := open(t, c)
		files := map[string]string{
			"00001_things.sql": twoFiles["00001_things.sql"],
			"00002_bad.sql":    "INSERT INTO things VALUES (1);\nINSERT INTO nowhere VALUES (1);",
		}
		applied, err := db.Migrate(t.Context(), migrations(files))
		if len(applied) != 1 || err == nil || !strings.Contains(err.Error(), "00002_bad.sql") || IsUnavailable(err) {
			t.Errorf("applied %v, err = %v", applied, err)
		}
		if n := count(t, db, "SELECT count(*) FROM things"); n != 0 {
			t.Errorf("%d rows of a failed migration", n)
		}
		if got := states(t, db, files); got != "00001_things.sql applied, 00002_bad.sql pending" {
			t.Errorf("states: %s", got)
		}
	})
}

func TestMigrateWithoutFiles(t *testing.T) {
	t.Parallel()
	db := open(t, Config{URL: "sqlite::memory:"})
	if _, err := db.Migrate(t.Context(), migrations(nil)); err == nil || !strings.Contains(err.Error(), `"sqlite"`) {
		t.Errorf("err = %v", err)
	}
}

// Two files with one number are an error that names both, whether the number was applied or not.
func TestMigrationsWithOneNumber(t *testing.T) {
	t.Parallel()
	two := map[string]string{"00002_seed.sql": twoFiles["00002_seed.sql"], "00001_things.sql": twoFiles["00001_things.sql"], "2_late.sql": "SELECT 1;"}
	for _, first := range []map[string]string{nil, twoFiles} {
		db := open(t, Config{URL: "sqlite::memory:"})
		if first != nil {
			if _, err := db.Migrate(t.Context(), migrations(first)); err != nil {
				t.Fatal(err)
			}
		}
		_, migrated := db.Migrate(t.Context(), migrations(two))
		for _, err := range []error{migrated, db.CheckSchema(t.Context(), migrations(two))} {
			if err == nil || !strings.Contains(err.Error(), "00002_seed.sql and 2_late.sql have the same number") {
				t.Errorf("err = %v", err)
			}
		}
	}
}

// A number that was applied from another file is an error that names both, and nothing is applied.
func TestMigrationWithAppliedNumber(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		db := open(t, c)
		if _, err := db.Migrate(t.Context(), migrations(twoFiles)); err != nil {
			t.Fatal(err)
		}
		other := migrations(map[string]string{"00001_things.sql": twoFiles["00001_things.sql"], "00002_late.sql": "SELECT 1;", "00003_next.sql": "SELECT 1;"})
		applied, migrated := db.Migrate(t.Context(), other)
		for _, err := range []error{migrated, db.CheckSchema(t.Context(), other)} {
			if err == nil || !strings.Contains(err.Error(), "00002_late.sql was not applied, because 00002_seed.sql has the same number") || len(applied) > 0 {
				t.Errorf("err = %v, applied %v", err, applied)
			}
		}
	})
}

// The names of files that were applied before they were recorded are recorded with the next.
func TestMigrateRecordsFiles(t *testing.T) {
	engines(t, func(t *testing.T, c Config) {
		db := open(t, c)
		if _, err := db.Migrate(t.Context(), migrations(twoFiles)); err != nil {
			t.Fatal(err)
		}
		mustExec(t, db, "DROP TABLE goose_db_version_files")
		if err := db.CheckSchema(t.Context(), migrations(twoFiles)); err != nil {
			t.Error(err)
		}
		three := maps.Clone(twoFiles)
		three["00003_bad.sql"] = "SELECT nothing;"
		if _, err := db.Migrate(t.Context(), migrations(three)); err == nil {
			t.Error("no error")
		}
		three["00003_good.sql"] = "SELECT 1;"
		delete(three, "00003_bad.sql")
		if _, err := db.Migrate(t.Context(), migrations(three)); err != nil {
			t.Error(err)
		}
		if n := count(t, db, "SELECT count(*) FROM goose_db_version_files WHERE file IN ('00001_things.sql', '00002_seed.sql', '00003_good.sql')"); n != 3 {
			t.Errorf("%d files, want 3", n)
		}
	})
}

// A pending migration below an applied one is an error, which says what to do.
func TestMigrationBelowApplied(t *testing.T) {
	t.Parallel()
	db := open(t, Config{URL: "sqlite::memory:"})
	files := map[string]string{"00001_things.sql": twoFiles["00001_things.sql"], "00003_next.sql": "SELECT 1;"}
	if _, err := db.Migrate(t.Context(), migrations(files)); err != nil {
		t.Fatal(err)
	}
	files["00002_late.sql"] = "SELECT 1;"
	if _, err := db.Migrate(t.Context(), migrations(files)); err == nil || !strings.Contains(err.Error(), "00002_late.sql has a lower number than 00003_next.sql, which was applied before") {
		t.Errorf("err = %v", err)
	}
	delete(files, "00003_next.sql") // a migration that the program does not know
	var schema *SchemaError
	if err := db.CheckSchema(t.Context(), migrations(files)); !errors.As(err, &schema) || !schema.Newer || !schema.Pending {
		t.Errorf("err = %v", err)
	}
}

// A file that goose would ignore is an error.
func TestMigrationWithoutNumber(t *testing.T) {
	t.Parallel()
	db := open(t, Config{URL: "sqlite::memory:"})
	for _, name := range []string{"00002.sql", "late.sql", "0_late.sql"} {
		files := map[string]string{"00001_things.sql": twoFiles["00001_things.sql"], name: "SELECT 1;"}
		if _, err := db.Migrate(t.Context(), migrations(files)); err == nil || !strings.Contains(err.Error(), name+" must begin with a positive whole number") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A migration may take longer than a query; waiting for another node ends with ctx.
func TestMigrateIsBoundByContextOnly(t *testing.T) {
	t.Parallel()
	db := open(t, Config{URL: dbtest.Postgres(t), QueryTimeout: time.Second})
	slow := migrations(map[string]string{"00001_slow.sql": "SELECT pg_sleep(2.5);"})
	if _, err := db.Migrate(t.Context(), slow); err != nil {
		t.Error(err)
	}
}

func TestMigrateWaitsForLockUntilDeadline(t *testing.T) {
	t.Parallel()
	for _, url := range []string{dbtest.SQLite(t), dbtest.Postgres(t)} {
		db := open(t, Config{URL: url})
		err := holdMigrationLock(t, db, func() {
			_, err := db.Migrate(short(t, 300*time.Millisecond), migrations(twoFiles))
			if !IsUnavailable(err) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: err = %v", db.Dialect(), err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Migrate(t.Context(), migrations(twoFiles)); err != nil {
			t.Errorf("%s: once it is free: %v", db.Dialect(), err)
		}
	}
}

func holdMigrationLock(t *testing.T, db *DB, do func()) error {
	pool, err := db.migrator()
	if err != nil {
		return err
	}
	unlock, err := db.lockMigrations(t.Context(), pool)
	if err != nil {
		return errors.Join(err, pool.Close())
	}
	do()
	unlock()
	return pool.Close()
}

// child is this test binary, started for one job of [runJob].
func child(t *testing.T, job, url string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), "DATABASE_TEST_JOB="+job, "DATABASE_TEST_URL="+url)
	return cmd
}
