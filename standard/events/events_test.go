package events_test

import (
	"bytes"
	"context"
	"io"
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
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/events"
	"github.com/chassi-go/chassi/standard/sqldb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls until f returns true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !f(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited for a minute: %s", what)
		}
	}
}

type order struct {
	ID     string `event:"key"  json:"id" validate:"required"`
	Number int    `json:"number"`
}

type settings struct {
	standard.Config

	Database database.Config `config:"database"`
	Events   events.Config   `config:"events"`
}

var migrations = fstest.MapFS{
	"sqlite/00001_none.sql":   {Data: []byte("-- +goose Up\nSELECT 1;\n")},
	"postgres/00001_none.sql": {Data: []byte("-- +goose Up\nSELECT 1;\n")},
}

// running is an App with events.
type running struct {
	app  *standard.App
	db   *database.DB
	stop func()
}

// run starts an App with a subscription until stop is called or the test ends.
func run(t *testing.T, url string, topic event.Topic[order], subscriptions ...*event.Subscription) *running {
	t.Helper()
	c := standard.Config{Timeout: time.Minute}
	c.HTTP.Addr, c.Admin.Addr = "127.0.0.1:0", "127.0.0.1:0"
	app, err := standard.New(t.Context(), "test", "1", c, standard.Options{Log: io.Discard})
	must(t, err)
	db, err := sqldb.Add(t.Context(), app, database.Config{URL: url}, migrations)
	must(t, err)
	e := events.Add(app, db, events.Config{})
	e.Publishes(topic)
	e.Subscribe(subscriptions...)
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- app.Run(ctx) }()
	select {
	case <-app.Started():
	case err := <-result:
		t.Fatalf("the app did not start: %v", err)
	}
	stopped := false
	r := &running{app: app, db: db, stop: func() {
		if cancel(); !stopped {
			stopped = true
			must(t, <-result)
		}
	}}
	t.Cleanup(r.stop)
	return r
}

func publish(t *testing.T, db *database.DB, topic event.Topic[order], orders ...order) {
	t.Helper()
	must(t, db.Write(t.Context(), func(ctx context.Context, tx *database.Tx) error {
		for _, o := range orders {
			if err := topic.Publish(ctx, tx, &o); err != nil {
				return err
			}
		}
		return nil
	}))
}

// Events of an App pass through its middleware: an invalid one is a dead letter, a panic does not
// end the process. The metrics show the tables.
func TestApp(t *testing.T) {
	t.Parallel()
	topic := event.NewTopic[order]("test.v1.Order")
	handled := make(chan string, 10)
	r := run(t, dbtest.SQLite(t), topic, event.Subscribe(topic, "sub", func(_ context.Context, o *order) error {
		if handled <- o.ID; o.ID == "panics" {
			panic("boom")
		}
		return nil
	}, event.Tries(1)))
	publish(t, r.db, topic, order{"", 1}, order{"panics", 2}, order{"good", 3})
	got := map[string]bool{<-handled: true, <-handled: true}
	if !got["panics"] || !got["good"] {
		t.Errorf("handled %v", got)
	}
	eventually(t, "two dead letters", func() bool {
		letters, err := event.DeadLetters(t.Context(), r.db, event.Selection{})
		must(t, err)
		reasons := make(map[string]bool)
		for _, d := range letters {
			reasons[d.Code] = true
		}
		return reasons["invalid_argument"] && reasons["internal"]
	})
	families, err := r.app.Telemetry.Registry.Gather()
	must(t, err)
	names := make(map[string]bool)
	for _, f := range families {
		names[f.GetName()] = true
	}
	for _, name := range []string{"events_unrelayed_seconds", "tasks", "dead_letters", "subscription_unserved_seconds", "events_total"} {
		if !names[name] {
			t.Errorf("no metric %s", name)
		}
	}
}

// A backend that the program does not have is an error that names the others.
func TestUnknownBackend(t *testing.T) {
	t.Parallel()
	app, err := standard.New(t.Context(), "test", "1", standard.Config{}, standard.Options{Log: io.Discard})
	must(t, err)
	defer app.Close()
	db, err := database.Open(t.Context(), database.Config{URL: dbtest.SQLite(t)})
	must(t, err)
	defer db.Close()
	events.Add(app, db, events.Config{Backend: "kafka"}, events.Backend{Name: "nats"})
	if err := app.Build(); err == nil || !strings.Contains(err.Error(), `events.backend ("kafka"): want one of sql, nats`) {
		t.Errorf("%v", err)
	}
}

// command runs a command of a program and returns what it prints.
func command(t *testing.T, url string, want int, args ...string) string {
	t.Helper()
	p := standard.Program[settings]{Name: "shop", Version: "1", Commands: events.Commands(func(c *settings) database.Config { return c.Database })}
	var out, errs bytes.Buffer
	if code := p.Run(t.Context(), append(args, "--database.url="+url), nil, nil, &out, &errs); code != want {
		t.Fatalf("%v: exit code %d, want %d: %s", args, code, want, errs.String())
	}
	return out.String() + errs.String()
}

// Dead letters are listed, shown, redriven and discarded, kept events replayed and subscriptions
// removed by commands, while the program runs.
func TestCommands(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		topic := event.NewTopic[order]("test.v1.Order", event.Keep(time.Hour))
		broken := make(chan struct{}) // closed when it is mended
		handled := make(chan order, 100)
		r := run(t, url, topic, event.Subscribe(topic, "sub", func(_ context.Context, o *order) error {
			select {
			case <-broken:
				handled <- *o
				return nil
			default:
				return chassi.NewError(chassi.NotFound, "gone", "It is gone")
			}
		}, event.HoldKey))
		publish(t, r.db, topic, order{"a", 1}, order{"a", 2}, order{"b", 1})
		var letters []event.DeadLetter
		eventually(t, "two dead letters", func() bool {
			var err error
			letters, err = event.DeadLetters(t.Context(), r.db, event.Selection{})
			must(t, err)
			return len(letters) == 2
		})
		if out := command(t, url, 0, "events", "dead", "list"); strings.Count(out, "It is gone") != 2 || !strings.Contains(out, `"a"`) {
			t.Errorf("listed %s", out)
		}
		id := strconv.FormatInt(letters[0].ID, 10)
		if out := command(t, url, 0, "events", "dead", "show", id); !strings.Contains(out, `"code": "not_found"`) || !strings.Contains(out, `"number": 1`) {
			t.Errorf("shown %s", out)
		}
		command(t, url, 1, "events", "dead", "show", "99999")
		command(t, url, 2, "events", "dead", "show", "x")
		command(t, url, 2, "events", "dead", "discard", "") // as an unset variable of a shell script
		command(t, url, 1, "events", "dead", "redrive", "99999")
		if out := command(t, url, 0, "events", "dead", "discard", strconv.FormatInt(letters[1].ID, 10)); !strings.Contains(out, "discarded 1 ") {
			t.Errorf("discarded %s", out)
		}
		close(broken)
		if out := command(t, url, 0, "events", "dead", "redrive", "sub"); !strings.Contains(out, "redrove 1 ") {
			t.Errorf("redrove %s", out)
		}
		for _, want := range []order{{"a", 1}, {"a", 2}} {
			if got := <-handled; got != want {
				t.Errorf("handled %v, want %v", got, want)
			}
		}
		if out := command(t, url, 0, "events", "replay", "test.v1.Order", "sub", "start"); !strings.Contains(out, "replayed 3 ") {
			t.Errorf("replayed %s", out)
		}
		for range 3 {
			<-handled
		}
		if out := command(t, url, 0, "events", "replay", "test.v1.Order", "sub", time.Now().Add(time.Hour).Format(time.RFC3339)); !strings.Contains(out, "replayed 0 ") {
			t.Errorf("replayed %s", out)
		}
		if out := command(t, url, 1, "events", "replay", "test.v1.Order", "sub", "unknown"); strings.Contains(out, "replayed") {
			t.Errorf("replayed %s", out)
		}
		if out := command(t, url, 1, "events", "replay", "test.v1.Odrer", "sub", "start"); !strings.Contains(out, "has no retained events") {
			t.Errorf("replayed %s", out)
		}
		if out := command(t, url, 0, "events", "replay", "test.v1.Order", "another", "start"); !strings.Contains(out, "no subscription another") {
			t.Errorf("replayed %s", out)
		}
		if out := command(t, url, 1, "events", "dead", "redrive", "another"); !strings.Contains(out, "no dead letter") {
			t.Errorf("redrove %s", out)
		}
		if out := command(t, url, 1, "events", "remove", "sub"); !strings.Contains(out, "has served the subscription") {
			t.Errorf("removed %s", out)
		}
		r.stop()
		if out := command(t, url, 0, "events", "remove", "sub"); !strings.Contains(out, "removed sub") {
			t.Errorf("removed %s", out)
		}
		command(t, url, 1, "events", "remove", "sub")
	})
}

// The commands say that a database is not that of a program with events.
func TestCommandsOfAnotherDatabase(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db, err := database.Open(t.Context(), database.Config{URL: url})
		must(t, err)
		must(t, db.Close())
		for _, args := range [][]string{{"dead", "list"}, {"dead", "discard", "all"}, {"remove", "sub"}, {"replay", "topic", "sub", "start"}} {
			if out := command(t, url, 1, append([]string{"events"}, args...)...); !strings.Contains(out, "lacks tables of events and jobs") {
				t.Errorf("%v: %s", args, out)
			}
		}
	})
}

// A selection of dead letters is redriven in its original order, whatever order the IDs are given
// in, and kept events are replayed from a time and from an ID on.
func TestRedriveAndReplayInOrder(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		topic := event.NewTopic[order]("test.v1.Order", event.Keep(time.Hour))
		broken := make(chan struct{}) // closed when it is mended
		handled := make(chan order, 100)
		r := run(t, url, topic, event.Subscribe(topic, "sub", func(_ context.Context, o *order) error {
			select {
			case <-broken:
				handled <- *o
				return nil
			default:
				return chassi.NewError(chassi.NotFound, "gone", "It is gone")
			}
		}, event.Ordered))
		const n = 5
		for i := range n {
			publish(t, r.db, topic, order{"a", i})
			published := time.Now().UnixMilli() // the resolution of SQLite's clock
			eventually(t, "the next event is younger", func() bool { return time.Now().UnixMilli() > published })
		}
		var letters []event.DeadLetter
		eventually(t, "all are dead letters", func() bool {
			var err error
			letters, err = event.DeadLetters(t.Context(), r.db, event.Selection{})
			must(t, err)
			return len(letters) == n
		})
		close(broken)
		expect := func(numbers ...int) {
			t.Helper()
			for _, i := range numbers {
				select {
				case got := <-handled:
					if got.Number != i {
						t.Errorf("handled %d, want %d of %v", got.Number, i, numbers)
					}
				case <-time.After(time.Minute):
					t.Fatalf("%d of %v is not handled", i, numbers)
				}
			}
		}
		id := func(i int) string { return strconv.FormatInt(letters[i].ID, 10) }
		if out := command(t, url, 0, "events", "dead", "redrive", id(3)+","+id(0)+","+id(2)); !strings.Contains(out, "redrove 3 ") {
			t.Errorf("redrove %s", out)
		}
		expect(0, 2, 3)
		if out := command(t, url, 0, "events", "dead", "redrive", "all"); !strings.Contains(out, "redrove 2 ") {
			t.Errorf("redrove %s", out)
		}
		expect(1, 4)
		var published int64
		must(t, r.db.QueryRow(t.Context(), "SELECT created_at FROM chassi_outbox WHERE event_id = $1", letters[2].UID).Scan(&published))
		for _, from := range []string{time.UnixMicro(published).UTC().Format(time.RFC3339Nano), letters[2].UID} {
			if out := command(t, url, 0, "events", "replay", "test.v1.Order", "sub", from); !strings.Contains(out, "replayed 3 ") {
				t.Errorf("replayed %s", out)
			}
			expect(2, 3, 4)
		}
		if len(handled) > 0 {
			t.Errorf("%d more were handled", len(handled))
		}
	})
}
