package task

import (
	"context"
	"io/fs"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/dbtest"
)

// bury makes a dead letter of a task that waits.
func bury(t testing.TB, db *database.DB, uid string) {
	t.Helper()
	must(t, db.Batch(t.Context(), database.Statement{
		SQL: `INSERT INTO chassi_dead (id, queue, uid, key, hold, tries, lost, headers, body, code, reason, error, created_at, died_at)
			SELECT id, queue, uid, key, hold, tries, lost, headers, body, '', '', '', created_at, created_at FROM chassi_tasks WHERE uid = $1`,
		Args: []any{uid},
	}, database.Statement{SQL: "DELETE FROM chassi_tasks WHERE uid = $1", Args: []any{uid}}))
}

// waits reports whether a transaction waits for another one. On SQLite all writers do.
func waits(t testing.TB, db *database.DB) bool {
	t.Helper()
	return db.Dialect() == database.SQLite ||
		count(t, db, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") > 0
}

const active = "SELECT count(*) FROM chassi_tasks WHERE key <> '' AND state <> 2"

// A dead letter is redriven while another transaction, which does not see it, makes a later task of
// its key ready: only one of the two may run.
func TestRedriveBesideTheNextOfItsKey(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db, other, watch := open(t, url), open(t, url), open(t, url)
		must(t, Migrate(t.Context(), db))
		add(t, db, nil, New{Queue: "q", UID: "first", Key: "a"}, New{Queue: "q", UID: "last", Key: "a"})
		bury(t, db, "first")
		redriven := make(chan error, 1)
		begun := false
		must(t, db.WriteShared(t.Context(), func(ctx context.Context, tx *database.Tx) error {
			if _, err := tx.Exec(ctx, advanceKey, "q", "a"); err != nil || begun {
				return err
			}
			begun = true
			go func() {
				_, err := Redrive(t.Context(), other, Selection{})
				redriven <- err
			}()
			eventually(t, "the dead letter is redriven, or waits", func() bool { return len(redriven) > 0 || waits(t, watch) })
			return nil
		}))
		must(t, <-redriven)
		if n := count(t, db, active); n != 1 {
			t.Errorf("%d tasks of the key may run at the same time", n)
		}
		if n := count(t, db, "SELECT count(*) FROM chassi_tasks"); n != 2 {
			t.Errorf("%d tasks, want 2", n)
		}
	})
}

// A node that continues with a key, while another transaction makes an earlier task of it ready,
// runs that one first, and nothing fails.
func TestNodeBesideAnEarlierTaskOfTheKey(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db, watch := open(t, url), open(t, url)
		var out logged
		var s seen
		var running atomic.Int64
		o := Options{Logger: slog.New(slog.NewTextHandler(&out, nil)), Poll: patience, Lease: 10 * patience}
		e := start(t, open(t, url), o, Queue{Name: "q", Run: func(_ context.Context, task *Task) error {
			if running.Add(1) > 1 {
				t.Error("two tasks of the key run")
			}
			defer running.Add(-1)
			s.add(task.UID)
			return nil
		}})
		add(t, db, nil, New{Queue: "q", UID: "last", Key: "a"})
		begun := false
		must(t, db.WriteShared(t.Context(), func(ctx context.Context, tx *database.Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO chassi_tasks (id, queue, uid, key, headers, body) VALUES (0, 'q', 'first', 'a', '{}', $1)", []byte{})
			if err != nil || begun {
				return err
			}
			begun = true
			e.mu.Lock()
			e.keys = append(e.keys, Key{"q", "a"})
			e.mu.Unlock()
			e.Wake()
			eventually(t, "the node waits, or runs the last task", func() bool { return s.ran("last") || waits(t, watch) })
			return nil
		}))
		e.Wake()
		eventually(t, "the queue is empty", empty(t, db))
		if want := []string{"first", "last"}; !slices.Equal(s.order, want) {
			t.Errorf("%v ran, want %v", s.order, want)
		}
		if text := out.String(); text != "" {
			t.Errorf("logged %s", text)
		}
	})
}

// Tasks of one key that an earlier version has made ready together run one after the other again.
func TestMigrationOfTasksOfOneKey(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db := open(t, url)
		earlier := make(fstest.MapFS)
		for _, dialect := range []string{"sqlite", "postgres"} {
			name := dialect + "/00001_tasks.sql"
			text, err := fs.ReadFile(files, "schema/"+name)
			must(t, err)
			earlier[name] = &fstest.MapFile{Data: text}
		}
		_, err := db.MigrateTable(t.Context(), versions, earlier)
		must(t, err)
		_, err = db.Exec(t.Context(), `INSERT INTO chassi_tasks (queue, uid, key, state, owner, fence, headers, body) VALUES
			('q', 'ready', 'a', 0, '', 0, '{}', $1), ('q', 'running', 'a', 3, 'node', 5, '{}', $1), ('q', 'blocked', 'a', 2, '', 0, '{}', $1),
			('q', 'waiting', 'b', 1, '', 0, '{}', $1), ('q', 'also running', 'c', 3, 'node', 5, '{}', $1), ('q', 'also running', 'c', 3, 'node', 5, '{}', $1),
			('q', 'alone', '', 0, '', 0, '{}', $1), ('q', 'alone', '', 0, '', 0, '{}', $1)`, []byte{})
		must(t, err)
		must(t, Migrate(t.Context(), db))
		texts, err := Select(t.Context(), db, func(text *string) []any { return []any{text} },
			"SELECT uid || ' ' || state || ' ' || owner || ' ' || fence FROM chassi_tasks ORDER BY id")
		must(t, err)
		want := []string{
			"ready 2  1", "running 3 node 5", "blocked 2  0", "waiting 1  0", "also running 3 node 5", "also running 2  6", "alone 0  0", "alone 0  0",
		}
		if !slices.Equal(texts, want) {
			t.Errorf("%q, want %q", texts, want)
		}
	})
}
