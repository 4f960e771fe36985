package event_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/event/amqpevents"
	"github.com/chassi-go/chassi/event/natsevents"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/internal/rabbittest"
	"github.com/chassi-go/chassi/transport/amqpapi"
	"github.com/chassi-go/chassi/transport/natsapi"
	"github.com/chassi-go/chassi/transport/natsapi/embedded"
)

// world is what a test of the suite runs in: a database that publishes, one that subscribes,
// which is the same without a broker, and the broker between them.
type world struct {
	t        testing.TB
	from, to *database.DB
	backend  func() event.Backend // a new one for each node; nil without a broker
}

func (w *world) options() event.Options {
	var o event.Options
	if w.backend != nil {
		o.Backend = w.backend()
	}
	return o
}

// publisher starts a node that publishes.
func (w *world) publisher(topic event.AnyTopic) *node { return start(w.t, w.from, w.options(), topic) }

// subscriber starts a node that subscribes.
func (w *world) subscriber(topic event.AnyTopic, subs ...*event.Subscription) *node {
	return start(w.t, w.to, w.options(), topic, subs...)
}

var engines = []struct {
	name string
	url  func(testing.TB) string
}{{"sqlite", dbtest.SQLite}, {"postgres", dbtest.Postgres}}

// suite runs test over each backend and each engine.
func suite(t *testing.T, test func(t *testing.T, w *world)) {
	t.Parallel()
	for _, e := range engines {
		engine, url := e.name, e.url
		t.Run("sql/"+engine, func(t *testing.T) {
			t.Parallel()
			db := open(t, url(t))
			test(t, &world{t: t, from: db, to: db})
		})
		t.Run("nats/"+engine, func(t *testing.T) {
			t.Parallel()
			w := &world{t: t, from: open(t, url(t)), to: open(t, url(t)), backend: natsBackend(t)}
			test(t, w)
		})
		t.Run("amqp/"+engine, func(t *testing.T) {
			t.Parallel()
			w := &world{t: t, from: open(t, url(t)), to: open(t, url(t)), backend: amqpBackend(t)}
			test(t, w)
		})
	}
}

// natsBackend returns backends for a server of the test's own.
func natsBackend(t testing.TB) func() event.Backend {
	t.Helper()
	server := natsServer(t, t.TempDir())
	return func() event.Backend { return natsEvents(t, server) }
}

// natsServer starts a server whose clients have their keys in the folder.
func natsServer(t testing.TB, credentials string) *embedded.Server {
	t.Helper()
	server := embedded.New(embedded.Config{Addr: "127.0.0.1:0", StoreDir: t.TempDir(), CredentialsDir: credentials, Logger: quiet})
	must(t, server.Start(t.Context()))
	t.Cleanup(func() { _ = server.Stop(context.Background()) })
	return server
}

func natsEvents(t testing.TB, server *embedded.Server) event.Backend {
	t.Helper()
	b, err := natsevents.Open(natsapi.ClientConfig{URL: "nats://127.0.0.1:1", Options: server.WorkOptions(), Prefix: "test", Logger: quiet})
	must(t, err)
	return b
}

// A client of the embedded server that connects from outside can neither publish events nor read
// them.
func TestOutsideOfTheEmbeddedServer(t *testing.T) {
	t.Parallel()
	credentials := t.TempDir()
	server := natsServer(t, credentials)
	inside := natsEvents(t, server)
	defer inside.Close()
	_, err := inside.Declare(t.Context(), topicName, "sub", "")
	must(t, err)
	outside, err := natsapi.Dial(t.Context(), natsapi.ClientConfig{
		URL: server.URL(), Login: natsapi.Login{NkeyFile: credentials + "/default.nk"}, Logger: quiet,
	})
	must(t, err)
	defer outside.Close()
	conn := outside.Conn()
	const subject = "test.event." + topicName
	read, _ := conn.SubscribeSync(">") // refused, or of an account of its own
	must(t, conn.PublishMsg(&nats.Msg{Subject: subject, Header: nats.Header{"Nats-Msg-Id": {"forged"}}, Data: []byte(`{}`)}))
	must(t, conn.FlushTimeout(patience))
	for i, err := range inside.Publish(t.Context(), []event.Message{{ID: "real", Topic: topicName, Body: []byte(`{}`)}}) {
		if err != nil {
			t.Fatal(i, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = inside.Receive(ctx, topicName, "sub", "0", func(_ context.Context, messages []event.Message) error {
		cancel()
		if len(messages) != 1 || messages[0].ID != "real" {
			t.Errorf("received %v", messages)
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	must(t, conn.FlushTimeout(patience))
	if n, _, _ := read.Pending(); read != nil && n > 0 {
		m, err := read.NextMsg(time.Second)
		if err == nil && m.Header.Get("Nats-Msg-Id") == "real" {
			t.Error("an outside client read an event")
		}
	}
}

// amqpBackend returns backends with a prefix of the test's own.
func amqpBackend(t testing.TB) func() event.Backend {
	t.Helper()
	url, prefix := amqpPrefix(t, rabbittest.URL(t))
	return func() event.Backend {
		return amqpevents.Open(amqpapi.ClientConfig{URL: url, Prefix: prefix, Logger: quiet})
	}
}

// amqpPrefix returns a prefix of the test's own, and deletes what has it after the test.
func amqpPrefix(t testing.TB, url string) (sameURL, prefix string) {
	t.Helper()
	prefix = "events-" + strconv.FormatUint(rand.Uint64(), 36)
	t.Cleanup(func() {
		conn, err := amqp.Dial(url)
		must(t, err)
		defer conn.Close()
		ch, err := conn.Channel()
		must(t, err)
		for _, queue := range []string{"sub", "other"} {
			_, _ = ch.QueueDelete(prefix+".event."+queue, false, false, false)
		}
		_ = ch.ExchangeDelete(prefix+".event."+topicName, false, false)
	})
	return url, prefix
}

const topicName = "test.v1.Order"

// Each event of two publishing nodes reaches each subscription once, on two subscribing nodes.
func TestSuiteEachEventOnce(t *testing.T) {
	suite(t, func(t *testing.T, w *world) {
		topic := event.NewTopic[order](topicName)
		var first, second log
		subs := func() []*event.Subscription {
			return []*event.Subscription{event.Subscribe(topic, "sub", first.add), event.Subscribe(topic, "other", second.add)}
		}
		w.subscriber(topic, subs()...)
		w.subscriber(topic, subs()...)
		w.publisher(topic)
		w.publisher(topic)
		const n = 20
		publish(t, w.from, topic, numbered("a", n)...)
		eventually(t, "all events", func() bool { return first.len() >= n && second.len() >= n })
		idle(t, w.from, w.to)
		for _, l := range []*log{&first, &second} {
			if l.len() != n || len(l.ids) != n {
				t.Errorf("%d events with %d ids, want %d", l.len(), len(l.ids), n)
			}
		}
	})
}

// Events of a key arrive in order, with random failures, while a key that fails delays no other.
// CHASSI_ORDER_KEYS=1000 CHASSI_ORDER_EVENTS=100 is the long form.
func TestSuiteOrder(t *testing.T) {
	suite(t, func(t *testing.T, w *world) {
		topic := event.NewTopic[order](topicName)
		keys, each := number("CHASSI_ORDER_KEYS", 10), number("CHASSI_ORDER_EVENTS", 4)
		var mu sync.Mutex
		next := make(map[string]int)
		broken := true
		method := func(_ context.Context, e *order) error {
			mu.Lock()
			defer mu.Unlock()
			if e.ID == "broken" && broken {
				return errFails
			}
			if rand.IntN(10) == 0 {
				return errFails
			}
			if e.Number != next[e.ID] {
				t.Errorf("%s: event %d, want %d", e.ID, e.Number, next[e.ID])
			}
			next[e.ID]++
			return nil
		}
		sub := func() *event.Subscription {
			return event.Subscribe(topic, "sub", method, event.Ordered, event.Tries(1000), event.Delay(time.Millisecond))
		}
		w.subscriber(topic, sub())
		w.subscriber(topic, sub())
		w.publisher(topic)
		for i := range each {
			publish(t, w.from, topic, order{"broken", i})
			must(t, w.from.Write(t.Context(), func(ctx context.Context, tx *database.Tx) error {
				for k := range keys {
					if err := topic.Publish(ctx, tx, &order{keyName(k), i}); err != nil {
						return err
					}
				}
				return nil
			}))
		}
		progress := func() (handled int, done bool) {
			mu.Lock()
			defer mu.Unlock()
			for k, n := range next {
				if k != "broken" {
					handled += n
				}
			}
			return handled, handled == keys*each
		}
		for handled, done := progress(); !done; {
			before := handled
			eventually(t, "more events of the other keys are handled", func() bool {
				handled, done = progress()
				return handled > before
			})
		}
		mu.Lock()
		if next["broken"] != 0 {
			t.Error("the broken key was handled")
		}
		broken = false
		mu.Unlock()
		idle(t, w.from, w.to)
		if next["broken"] != each {
			t.Errorf("%d events of the broken key, want %d", next["broken"], each)
		}
	})
}

// A dead letter holds its key until it is redriven; then all events are handled in order. A
// discarded one is not handled.
func TestSuiteHoldKey(t *testing.T) {
	suite(t, func(t *testing.T, w *world) {
		topic := event.NewTopic[order](topicName)
		var l log
		var mu sync.Mutex
		broken := true
		w.subscriber(topic, event.Subscribe(topic, "sub", func(ctx context.Context, e *order) error {
			mu.Lock()
			defer mu.Unlock()
			if e.Number == 1 && broken {
				return errFails
			}
			return l.add(ctx, e)
		}, event.HoldKey, event.Tries(2), event.Delay(time.Millisecond)))
		w.publisher(topic)
		for _, key := range []string{"a", "b"} {
			publish(t, w.from, topic, numbered(key, 4)...)
		}
		publish(t, w.from, topic, order{"c", 0})
		dead := func() int { return count(t, w.to, "SELECT count(*) FROM chassi_dead") }
		eventually(t, "two dead letters, and the others are handled or wait", func() bool {
			return dead() == 2 && l.len() == 3 && count(t, w.to, "SELECT count(*) FROM chassi_tasks WHERE state = 2") == 4
		})
		mu.Lock()
		broken = false
		mu.Unlock()
		letters, err := event.DeadLetters(t.Context(), w.to, event.Selection{Queue: "sub"})
		must(t, err)
		slices.SortFunc(letters, func(a, b event.DeadLetter) int { return strings.Compare(a.Key, b.Key) }) // keys have no order
		if len(letters) != 2 || letters[0].Key != "a" || letters[0].Tries != 2 || string(letters[0].Body) != `{"id":"a","number":1}` {
			t.Fatalf("%+v", letters)
		}
		if n, err := event.Discard(t.Context(), w.to, event.Selection{IDs: []int64{letters[1].ID}}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if n, err := event.Redrive(t.Context(), w.to, event.Selection{Queue: "sub"}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		idle(t, w.from, w.to)
		got := make(map[string]string)
		for _, e := range l.list {
			got[e.ID] += strconv.Itoa(e.Number)
		}
		if got["a"] != "0123" || got["b"] != "023" || got["c"] != "0" {
			t.Errorf("handled %v", got)
		}
	})
}

// A subscriber that is away receives what was published meanwhile.
func TestSuiteSubscriberIsAway(t *testing.T) {
	suite(t, func(t *testing.T, w *world) {
		topic := event.NewTopic[order](topicName)
		var l log
		w.publisher(topic)
		w.subscriber(topic, event.Subscribe(topic, "sub", l.add)).stop()
		publish(t, w.from, topic, numbered("a", 10)...)
		eventually(t, "the outbox is empty", func() bool { return count(t, w.from, "SELECT count(*) FROM chassi_outbox") == 0 })
		w.subscriber(topic, event.Subscribe(topic, "sub", l.add))
		eventually(t, "all events", func() bool { return l.len() == 10 })
		idle(t, w.from, w.to)
		if len(l.ids) != 10 {
			t.Errorf("%d ids", len(l.ids))
		}
	})
}

// A topic that is kept can be replayed to one subscription, from a time and from an ID, more
// than once, and the events keep their IDs.
func TestSuiteReplay(t *testing.T) {
	suite(t, func(t *testing.T, w *world) {
		topic := event.NewTopic[order](topicName, event.Keep(time.Hour))
		var l, other log
		w.subscriber(topic, event.Subscribe(topic, "sub", l.add, event.Ordered), event.Subscribe(topic, "other", other.add))
		w.publisher(topic)
		const n = 8
		publish(t, w.from, topic, numbered("a", n)...)
		eventually(t, "all events", func() bool { return l.len() == n && other.len() == n })
		idle(t, w.from, w.to)
		r := event.ReplayOptions{Topic: topicName, Subscription: "sub"}
		for range 2 {
			if got, err := event.Replay(t.Context(), w.from, r); err != nil || got.Events != n {
				t.Fatal(got, err)
			}
		}
		eventually(t, "the replayed events", func() bool { return l.len() == 3*n })
		r.Since = time.Now().Add(time.Hour)
		if got, err := event.Replay(t.Context(), w.from, r); err != nil || got.Events != 0 {
			t.Error(got, err)
		}
		idle(t, w.from, w.to)
		if other.len() != n || len(l.ids) != n {
			t.Errorf("the other subscription has %d events, the ids are %v", other.len(), l.ids)
		}
		for i, e := range l.list {
			if e.Number != i%n {
				t.Errorf("event %d is number %d", i, e.Number)
			}
		}
	})
}
