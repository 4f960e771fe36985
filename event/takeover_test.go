package event_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/event/amqpevents"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/internal/rabbittest"
	"github.com/chassi-go/chassi/transport/amqpapi"
)

// Two nodes share the shards of one database. When one is killed, the other has all of them, and
// runs the task that was running there, within one lease.
func TestTakeover(t *testing.T) {
	t.Parallel()
	const lease = 4 * time.Second
	dbtest.Engines(t, func(t *testing.T, url string) {
		s := setup{From: url, To: url}
		_, db := s.prepare(t)
		topic := event.NewTopic[order](topicName)
		killed := s.startWith(t, blocks, lease)
		publish(t, db, topic, order{"long", 0})
		eventually(t, "the task runs", func() bool { return count(t, db, "SELECT count(*) FROM chassi_tasks WHERE state = 3") == 1 })
		var l log
		start(t, db, event.Options{Lease: lease, Poll: 50 * time.Millisecond}, topic, event.Subscribe(topic, "sub", l.add))
		const shards = "SELECT count(*) FROM chassi_leases WHERE name >= 'relay/' AND name < 'relay0'"
		const halves = "SELECT count(*) FROM (" + shards + " GROUP BY owner HAVING count(*) = 8) AS half"
		eventually(t, "each node has half of the shards", func() bool { return count(t, db, halves) == 2 })
		kill(t, killed)
		at := time.Now()
		var tasks, all time.Duration
		eventually(t, "the other node has taken over", func() bool {
			if tasks == 0 && l.len() > 0 {
				tasks = time.Since(at)
			}
			if all == 0 && count(t, db, shards+" GROUP BY owner ORDER BY 1 DESC LIMIT 1") == 16 {
				all = time.Since(at)
			}
			return tasks > 0 && all > 0
		})
		t.Logf("lease %v: the task ran elsewhere after %v, all shards were elsewhere after %v", lease, tasks.Round(10*time.Millisecond), all.Round(10*time.Millisecond))
		if limit := lease + lease/4; max(tasks, all) > limit { // a quarter for a busy machine
			t.Errorf("taken over after %v and %v, want %v", tasks, all, lease)
		}
		publish(t, db, topic, numbered("a", 20)...)
		idle(t, db)
		if l.len() != 21 {
			t.Errorf("%d events were handled, want 21", l.len())
		}
	})
}

// With NATS, an invalid stored position is an error that names it and its remedy, and the
// subscription does not begin anew.
func TestInvalidPosition(t *testing.T) {
	t.Parallel()
	backend, db := natsBackend(t), open(t, dbtest.SQLite(t))
	topic := event.NewTopic[order](topicName)
	var l log
	sub := event.Subscribe(topic, "sub", l.add)
	start(t, db, event.Options{Backend: backend()}, topic, sub).stop()
	set := func(position string) {
		t.Helper()
		_, err := db.Exec(t.Context(), "UPDATE chassi_subscriptions SET position = $1", position)
		must(t, err)
	}
	set("7e")
	o := event.Options{Backend: backend(), Logger: quiet}
	s := event.NewServer(db, o)
	defer s.Close()
	must(t, s.Add(sub))
	const want = `natsevents: subscription sub: invalid position: "7e" in chassi_subscriptions.position of its database is not a sequence number; ` +
		`restore it, or set it to '0' to receive all that the stream keeps, of which the inbox drops what was received before`
	if err := s.Start(t.Context()); !errors.Is(err, event.ErrPosition) || err.Error() != want {
		t.Errorf("%v", err)
	}
	if err := o.Backend.Receive(t.Context(), topicName, "sub", "-1", func(context.Context, []event.Message) error { return nil }); !errors.Is(err, event.ErrPosition) {
		t.Errorf("%v", err)
	}
	set("0")
	start(t, db, event.Options{Backend: backend()}, topic, sub)
	publish(t, db, topic, order{"a", 1})
	eventually(t, "the event is handled", func() bool { return l.len() == 1 })
}

// With RabbitMQ, a second receiver gets no message while the first one holds earlier ones: order
// does not depend on when a node learns that it has lost its lease.
func TestReceiversOfRabbitMQ(t *testing.T) {
	t.Parallel()
	url, prefix := amqpPrefix(t, rabbittest.URL(t))
	open := func() event.Backend {
		b := amqpevents.Open(amqpapi.ClientConfig{URL: url, Prefix: prefix, Logger: quiet})
		t.Cleanup(b.Close)
		return b
	}
	first, second := open(), open()
	_, err := first.Declare(t.Context(), topicName, "sub", "")
	must(t, err)
	messages := make([]event.Message, 300) // more than one receiver holds
	for i := range messages {
		messages[i] = event.Message{ID: strconv.Itoa(i), Topic: topicName, Body: []byte("{}")}
	}
	must(t, errors.Join(first.Publish(t.Context(), messages)...))
	held, release := make(chan struct{}), make(chan struct{})
	results := make(chan error, 2)
	go func() {
		results <- first.Receive(t.Context(), topicName, "sub", "", func(context.Context, []event.Message) error {
			close(held)
			<-release
			return errFails
		})
	}()
	<-held
	received := make(chan string, 1)
	go func() {
		results <- second.Receive(t.Context(), topicName, "sub", "", func(_ context.Context, messages []event.Message) error {
			received <- messages[0].ID
			return errFails
		})
	}()
	conn, err := amqp.Dial(url)
	must(t, err)
	defer conn.Close()
	ch, err := conn.Channel()
	must(t, err)
	for range 200 { // exchanges with the broker, in which the second one would receive
		_, err := ch.QueueDeclarePassive(prefix+".event.sub", true, false, false, false, nil)
		must(t, err)
	}
	close(release)
	if id := <-received; id != "0" {
		t.Errorf("the second receiver began with message %s", id)
	}
	for range 2 {
		if err := <-results; !errors.Is(err, errFails) {
			t.Error(err)
		}
	}
}
