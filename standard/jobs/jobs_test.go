package jobs_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/job"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/events"
	"github.com/chassi-go/chassi/standard/jobs"
	"github.com/chassi-go/chassi/standard/sqldb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type config struct {
	standard.Config

	Database database.Config `config:"database"`
	Events   bool            `config:"events"`
}

var migrations = fstest.MapFS{
	"sqlite/00001_t.sql":   {Data: []byte("-- +goose Up\nCREATE TABLE t (n INTEGER);\n")},
	"postgres/00001_t.sql": {Data: []byte("-- +goose Up\nCREATE TABLE t (n INTEGER);\n")},
}

type signedUp struct {
	Name string `json:"name"`
}

// program has the job report, which runs once a year, and mail, which is enqueued.
func program(url string, admin chan<- http.Handler) standard.Program[config] {
	p := standard.Program[config]{Name: "test", Commands: jobs.Commands(func(c *config) database.Config { return c.Database })}
	p.Defaults.Database.URL = url
	p.Defaults.HTTP.Addr, p.Defaults.Admin.Addr = "127.0.0.1:0", "127.0.0.1:0"
	p.Setup = func(ctx context.Context, app *standard.App, c *config) error {
		db, err := sqldb.Add(ctx, app, c.Database, migrations)
		if err != nil {
			return err
		}
		if c.Events {
			topic := event.NewTopic[signedUp]("test.v1.SignedUp")
			e := events.Add(app, db, events.Config{})
			e.Publishes(topic)
			e.Subscribe(event.Subscribe(topic, "welcome", func(context.Context, *signedUp) error { return nil }))
		}
		jobs.Add(app, db,
			job.Cron("report", "0 4 1 1 *", func(context.Context) error { return nil }, job.In("Europe/Lisbon")),
			job.New("mail", func(context.Context, *signedUp) error {
				return chassi.NewError(chassi.NotFound, "no_mailbox", "There is no mailbox")
			}))
		app.Add(chassi.ComponentFunc("admin handler", func(context.Context) error { admin <- app.Admin; return nil }, nil))
		return nil
	}
	return p
}

func open(t *testing.T, url string) *database.DB {
	t.Helper()
	db, err := database.Open(t.Context(), database.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// enqueue adds a run of the job mail with a unique key, as another program with the job does.
func enqueue(t *testing.T, url string, options ...job.EnqueueOption) {
	t.Helper()
	db := open(t, url)
	mail := job.New("mail", func(context.Context, *signedUp) error { return nil })
	err := db.Write(t.Context(), func(ctx context.Context, tx *database.Tx) error {
		_, err := mail.Enqueue(ctx, tx, &signedUp{Name: "Ada"}, append(options, job.Unique("ada"))...)
		return err //nolint:wrapcheck // of a test
	})
	if err != nil {
		t.Fatal(err)
	}
}

// deadID returns the ID of the only dead letter.
func deadID(t *testing.T, url string) string {
	t.Helper()
	letters, err := event.DeadLetters(t.Context(), open(t, url), event.Selection{})
	if err != nil || len(letters) != 1 {
		t.Fatalf("%d dead letters, %v", len(letters), err)
	}
	return strconv.FormatInt(letters[0].ID, 10)
}

// redriveUnique checks that a dead letter with a unique key is left while another run has the key.
func redriveUnique(t *testing.T, url string, run func(args ...string) (string, int), isDead func() bool) {
	t.Helper()
	enqueue(t, url)
	eventually(t, "the unique run is a dead letter", isDead)
	enqueue(t, url, job.At(time.Now().Add(time.Hour)))
	if out, code := run("jobs", "dead", "show", deadID(t, url)); code != standard.ExitOK || !strings.Contains(out, `"unique_key": "ada"`) {
		t.Errorf("the dead letter has no unique key: code %d, %s", code, out)
	}
	out, code := run("jobs", "dead", "redrive", "job/mail")
	if code != standard.ExitFailed || !strings.Contains(out, "redrove 0 ") || !strings.Contains(out, "same unique keys are waiting or running") || !isDead() {
		t.Errorf("code %d, %s", code, out)
	}
}

// The commands work beside the running program.
func TestCommands(t *testing.T) {
	t.Parallel()
	// On SQLite jobs share the engine of events, on PostgreSQL they have one.
	for name, flag := range map[string]string{"sqlite": "--events=true", "postgres": "--events=false"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var url string
			if url = dbtest.SQLite(t); name == "postgres" {
				url = dbtest.Postgres(t)
			}
			admin := make(chan http.Handler, 1)
			p := program(url, admin)
			run := func(args ...string) (string, int) {
				var out bytes.Buffer
				code := p.Run(t.Context(), args, nil, os.Stdin, &out, &out)
				return out.String(), code
			}
			ctx, stop := context.WithCancel(t.Context())
			var log bytes.Buffer // read when the program has ended
			ended := make(chan int, 1)
			go func() {
				ended <- p.Run(ctx, []string{"serve", flag, "--shutdown.drain=0s"}, nil, os.Stdin, io.Discard, &log)
			}()
			var handler http.Handler
			select {
			case handler = <-admin:
			case code := <-ended:
				t.Fatalf("exit code %d\n%s", code, log.String())
			}
			contains := func(part string, args ...string) bool {
				out, code := run(args...)
				return code == standard.ExitOK && strings.Contains(out, part)
			}
			eventually(t, "the jobs are stored", func() bool { return contains("report  0 4 1 1 *  Europe/Lisbon", "jobs", "list") })
			if !contains("paused report\n", "jobs", "pause", "report") || !contains(" paused ", "jobs", "list") {
				t.Error("the job is not paused")
			}
			id, code := run("jobs", "run", "report")
			if id = strings.TrimSpace(id); code != standard.ExitOK || !strings.HasPrefix(id, "report@") {
				t.Errorf("%s, code %d", id, code)
			}
			eventually(t, "the run succeeds", func() bool {
				return contains("succeeded", "jobs", "history", "report") && contains(id, "jobs", "history", "report")
			})
			if !contains("resumed report\n", "jobs", "resume", "report") || !contains("-01-01T04:00:00Z", "jobs", "list") {
				t.Error("the job is not resumed")
			}
			if !contains("", "jobs", "run", "mail", `{"name":"Ada"}`) {
				t.Error("mail is not run")
			}
			eventually(t, "the failed run is recorded", func() bool { return contains("There is no mailbox", "jobs", "history", "mail") })
			isDead := func() bool { return contains("no_mailbox", "jobs", "dead", "list", "job/mail") }
			eventually(t, "the run is a dead letter", isDead)
			if !contains("redrove 1 ", "jobs", "dead", "redrive", "job/mail") {
				t.Error("the dead letter is not redriven")
			}
			eventually(t, "it is a dead letter again", isDead)
			if !contains("discarded 1 ", "jobs", "dead", "discard", "all") || isDead() {
				t.Error("the dead letter is not discarded")
			}
			redriveUnique(t, url, run, isDead)
			for _, args := range [][]string{{"jobs", "run", "none"}, {"jobs", "history", "none"}, {"jobs", "pause", "none"}, {"jobs", "pause", "mail"}, {"jobs", "run", "mail", "{"}} {
				if out, code := run(args...); code != standard.ExitFailed || !strings.HasPrefix(out, "test: ") {
					t.Errorf("%v: code %d, %s", args, code, out)
				}
			}
			var text string
			defer func() {
				if t.Failed() {
					t.Log(text)
				}
			}()
			eventually(t, "the metrics", func() bool {
				response := httptest.NewRecorder()
				handler.ServeHTTP(response, httptest.NewRequest(http.MethodGet, "http://localhost/metrics", nil))
				text = response.Body.String()
				return strings.Contains(text, `job_overdue_seconds{name="report"} 0`) && strings.Contains(text, `rpc_requests_total{code="0",route="report",transport="job"} 1`)
			})
			stop()
			if !contains("removed report\n", "jobs", "remove", "report") || contains("report", "jobs", "list") {
				t.Error("the job is not removed")
			}
			if _, code := run("jobs", "remove", "report"); code != standard.ExitFailed {
				t.Errorf("an unknown job is removed: code %d", code)
			}
			if code := <-ended; code != standard.ExitOK {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// Without a program that serves, the commands say what to do.
func TestCommandsOfANewDatabase(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if code := program(dbtest.SQLite(t), nil).Run(t.Context(), []string{"jobs", "list"}, nil, os.Stdin, &out, &out); code != standard.ExitFailed || !strings.Contains(out.String(), "test: ") {
		t.Errorf("code %d, %s", code, out.String())
	}
}

// eventually polls until f returns true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
		<-tick.C
	}
}
