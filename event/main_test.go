package event_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/event"
)

// TestMain runs the tests, or a node in a child process. Many tests run at the same time because
// they wait for intervals most of the time.
func TestMain(m *testing.M) {
	if os.Getenv(nodeVariable) != "" {
		os.Exit(runNode())
	}
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for a condition on a slow machine.
const patience = 2 * time.Minute

var quiet = slog.New(slog.DiscardHandler)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, url string) *database.DB {
	t.Helper()
	db, err := database.Open(t.Context(), database.Config{URL: url, QueryTimeout: patience, MaxOpen: 4})
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// order is the event of the tests.
type order struct {
	ID     string `event:"key" json:"id"`
	Number int    `json:"number"`
}

// node is a server that stops at the end of the test.
type node struct {
	*event.Server

	t    testing.TB
	once sync.Once
}

func (n *node) stop() {
	n.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := n.Stop(ctx); err != nil {
			n.t.Error(err)
		}
	})
}

// start starts a server for the topic.
func start(t testing.TB, db *database.DB, o event.Options, topic event.AnyTopic, subscriptions ...*event.Subscription) *node {
	t.Helper()
	if o.Logger == nil {
		o.Logger = quiet
	}
	if o.Poll == 0 {
		o.Poll = 200 * time.Millisecond
	}
	s := event.NewServer(db, o)
	must(t, s.Publishes(topic))
	must(t, s.Add(subscriptions...))
	must(t, s.Start(t.Context()))
	n := &node{Server: s, t: t}
	t.Cleanup(n.stop)
	return n
}

// publish publishes events in one transaction each.
func publish(t testing.TB, db *database.DB, topic event.Topic[order], events ...order) {
	t.Helper()
	for _, e := range events {
		must(t, db.Write(t.Context(), func(ctx context.Context, tx *database.Tx) error { return topic.Publish(ctx, tx, &e) }))
	}
}

// eventually polls until f returns true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v: %s", patience, what)
		}
		<-tick.C
	}
}

func count(t testing.TB, db *database.DB, query string, args ...any) (n int) {
	t.Helper()
	must(t, db.QueryRow(t.Context(), query, args...).Scan(&n))
	return n
}

func texts(t testing.TB, db *database.DB, query string) (list []string) {
	t.Helper()
	rows, err := db.Query(t.Context(), query)
	must(t, err)
	for rows.Next() {
		var text string
		must(t, rows.Scan(&text))
		list = append(list, text)
	}
	must(t, errors.Join(rows.Err(), rows.Close()))
	return list
}

// idle waits until no event is on its way in the databases.
func idle(t testing.TB, dbs ...*database.DB) {
	t.Helper()
	eventually(t, "outbox and tasks are empty", func() bool {
		for _, db := range dbs {
			if count(t, db, "SELECT (SELECT count(*) FROM chassi_outbox WHERE relayed_at IS NULL) + (SELECT count(*) FROM chassi_tasks)") > 0 {
				return false
			}
		}
		return true
	})
}

// log records handled events.
type log struct {
	mu   sync.Mutex
	list []order
	ids  map[string]int
}

func (l *log) add(ctx context.Context, e *order) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ids == nil {
		l.ids = make(map[string]int)
	}
	l.list = append(l.list, *e)
	l.ids[event.ID(ctx)]++
	return nil
}

func (l *log) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.list)
}

var errFails = errors.New("fails")

func numbered(key string, n int) (events []order) {
	for i := range n {
		events = append(events, order{key, i})
	}
	return events
}

func keyName(i int) string { return fmt.Sprint("key-", i) }
