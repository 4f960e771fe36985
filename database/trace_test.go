package database

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/calltrace"
	"github.com/chassi-go/chassi/internal/calltracetest"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/google/go-cmp/cmp"
)

func TestSummarize(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"SELECT 1": "SELECT ",
		"SELECT id, email FROM users WHERE id = $1":                                       "SELECT users",
		"\n\tselect max(a) from\n\tpublic.notes n JOIN users u ON n.id = u.id":            "SELECT public.notes",
		"SELECT (SELECT 1 FROM a), 'it''s FROM b', x /* FROM c */ -- FROM d\nFROM e":      "SELECT e",
		"SELECT n FROM (SELECT 1 FROM a)":                                                 "SELECT ",
		"SELECT n FROM (SELECT 1 AS one) o LEFT JOIN users u ON u.id = $1":                "SELECT users",
		"SELECT extract(epoch FROM now())":                                                "SELECT ",
		`SELECT "from" FROM "users"`:                                                      "SELECT users",
		`SELECT 1 FROM "users"`:                                                           "SELECT users",
		`SELECT 1 FROM "public"."odd one" x`:                                              "SELECT public.odd one",
		"INSERT INTO users (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET id = excluded": "INSERT users",
		"INSERT OR IGNORE INTO users SELECT id FROM old":                                  "INSERT users",
		"UPDATE users SET a = (SELECT b FROM c)":                                          "UPDATE users",
		"DELETE FROM users WHERE id IN (SELECT id FROM old)":                              "DELETE users",
		"WITH a AS (SELECT 1 FROM b), c AS (DELETE FROM d) UPDATE e SET f = 1":            "UPDATE e",
		"CREATE TABLE users (id TEXT)":                                                    "CREATE ",
		"SELECT 1; DELETE FROM users":                                                     "SELECT ",
		"PRAGMA wal_checkpoint":                                                           "PRAGMA ",
		"":                                                                                "SQL ",
		"WITH":                                                                            "SQL ",
		"SELECT 'unfinished":                                                              "SELECT ",
		"SELECT /* unfinished":                                                            "SELECT ",
		"SELECT 1 FROM":                                                                   "SELECT ",
		"((((":                                                                            "SQL ",
	} {
		if operation, table := summarize(query); operation+" "+table != want {
			t.Errorf("%q: %q and %q, want %q", query, operation, table, want)
		}
	}
}

func FuzzSummarize(f *testing.F) {
	f.Add("WITH a AS (SELECT 'x' FROM b) DELETE FROM \"c\" -- d")
	f.Add("INSERT INTO t VALUES ($1); /*")
	f.Fuzz(func(t *testing.T, query string) {
		operation, table := summarize(query)
		if !strings.Contains(strings.ToUpper(query)+"SQL", strings.ToUpper(operation)) || !strings.Contains(strings.ReplaceAll(query, `"`, ""), table) {
			t.Errorf("%q and %q are not in the statement", operation, table)
		}
	})
}

// R102: each statement of a call that is recorded is reported, in order, with how it ended,
// and with no value.
func TestStatementsAreReported(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db := counters(t, Config{URL: url})
		var r calltracetest.Recorder
		ctx := r.Context(t.Context())
		var n int64
		if err := db.QueryRow(ctx, "SELECT n FROM counters WHERE id = $1", 1).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if err := db.QueryRow(ctx, "SELECT n FROM counters WHERE id = $1", -1).Scan(&n); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
		if _, err := db.Exec(ctx, "UPDATE counters SET n = n + 1 WHERE id = $1", 1); err != nil {
			t.Fatal(err)
		}
		wrong := db.Write(ctx, func(ctx context.Context, tx *Tx) error {
			if err := tx.QueryRow(ctx, "SELECT n FROM counters WHERE id = $1", 1).Scan(&n); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "INSERT INTO counters (id, n) VALUES ($1, $2)", 1, 4711)
			return err
		})
		if !IsUnique(wrong) {
			t.Fatal(wrong)
		}
		if _, err := db.Query(ctx, "SELECT n FROM no_such WHERE n = 'canary'"); err == nil {
			t.Fatal("a table out of nowhere")
		}
		system, namespace, unique, missing := "sqlite", "", "1555", "1"
		update := []string{"BEGIN ", "UPDATE counters ", "COMMIT "}
		if db.Dialect() == Postgres {
			system, namespace, unique, missing = "postgresql", db.target.name, "23505", "42P01"
			update = update[1:2] // in one message
			if !strings.HasPrefix(namespace, "chassi_test_") {
				t.Errorf("namespace %q", namespace)
			}
		}
		got, running := r.Take()
		texts := make([]string, 0, len(got))
		for _, e := range got {
			texts = append(texts, e.String()+" "+e.Code+e.Failure)
			if e.System != system || e.Namespace != namespace || strings.Contains(fmt.Sprintf("%#v", e), "4711") || strings.Contains(fmt.Sprintf("%#v", e), "canary") {
				t.Errorf("%#v", e)
			}
		}
		want := slices.Concat([]string{"SELECT counters ", "SELECT counters "}, update, []string{
			"BEGIN ", "SELECT counters ", "INSERT counters " + unique, "ROLLBACK ",
			"SELECT no_such " + missing,
		})
		if diff := cmp.Diff(want, texts); diff != "" || running != 0 {
			t.Errorf("%d running; %s", running, diff)
		}
	})
}

// Statements that are sent together are one operation, with what they have in common.
func TestBatchesAreReported(t *testing.T) {
	t.Parallel()
	db := counters(t, Config{URL: dbtest.Postgres(t)})
	var r calltracetest.Recorder
	ctx := r.Context(t.Context())
	update, read := Statement{SQL: "UPDATE counters SET n = n + 1"}, Statement{SQL: "SELECT n FROM counters"}
	other := Statement{SQL: "SELECT 1 FROM pg_class"}
	for _, batch := range [][]Statement{{update, update}, {update, read}, {read, other}, {update, other}} {
		if err := db.Batch(ctx, batch...); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Batch(ctx, Statement{SQL: "INSERT INTO counters (id, n) VALUES (1, 0)"}, read); err == nil {
		t.Error("two rows with one id")
	}
	want := []string{"BATCH UPDATE counters", "BATCH counters", "BATCH SELECT", "BATCH", "BATCH counters: 23505"}
	if diff := cmp.Diff(want, r.Texts()); diff != "" {
		t.Error(diff)
	}
}

// What ends a statement but a response of the database has a name.
func TestStatementsThatAreNotAnswered(t *testing.T) {
	t.Parallel()
	var r calltracetest.Recorder
	away, err := Open(t.Context(), Config{URL: "postgres://nobody@127.0.0.1:1/none", QueryTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer away.Close()
	db := counters(t, Config{URL: "sqlite::memory:"})
	closed := counters(t, Config{URL: "sqlite::memory:"})
	_ = closed.Close()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancel()
	for _, c := range []struct {
		ctx  context.Context
		db   *DB
		want string
	}{
		{canceled, db, "canceled"}, {late, db, "timeout"}, {t.Context(), closed, "unavailable"}, {t.Context(), away, "unavailable"},
	} {
		if _, err := c.db.Query(r.Context(c.ctx), "SELECT 1"); err == nil {
			t.Errorf("%s: no error", c.want)
		}
		if err := c.db.Write(r.Context(c.ctx), func(context.Context, *Tx) error { return nil }); err == nil {
			t.Errorf("%s: no error", c.want)
		}
		if diff := cmp.Diff([]string{"SELECT: " + c.want, "BEGIN: " + c.want}, r.Texts()); diff != "" {
			t.Errorf("%s: %s", c.want, diff)
		}
	}
}

// Rows that are given up are reported when they are closed, and how they broke off though
// nobody asked.
func TestRowsAreReportedOnce(t *testing.T) {
	t.Parallel()
	db := counters(t, Config{URL: "sqlite::memory:"})
	var r calltracetest.Recorder
	ctx, cancel := context.WithCancel(r.Context(t.Context()))
	rows, err := db.Query(ctx, "SELECT n FROM counters")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"running"}, r.Texts()); diff != "" {
		t.Error(diff)
	}
	rows.Next()
	_ = errors.Join(rows.Close(), rows.Close())
	if diff := cmp.Diff([]string{"SELECT counters"}, r.Texts()); diff != "" {
		t.Error(diff)
	}
	rows, err = db.Query(ctx, "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n) SELECT i FROM n")
	if err != nil {
		t.Fatal(err)
	}
	rows.Next()
	cancel()
	for rows.Next() {
	}
	_ = rows.Close()
	if diff := cmp.Diff([]string{"SELECT n: canceled"}, r.Texts()); diff != "" {
		t.Error(diff)
	}
}

// A call that is not recorded costs no allocation more, which is to say: that the hook is there
// costs none.
func TestCallsThatAreNotRecordedCostNothing(t *testing.T) {
	db := counters(t, Config{URL: "sqlite::memory:"})
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		end := db.trace(ctx, "SELECT n FROM counters")
		ended(end, nil)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if calltrace.From(ctx) != nil {
		t.Error("the context is recorded")
	}
}
