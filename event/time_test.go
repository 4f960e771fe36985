package event_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/internal/dbtest"
)

// A transaction that writes, in another database of the same PostgreSQL, delays events with a
// key and kept ones, which its horizon could precede; it delays no others and loses nothing.
func TestLongTransactionElsewhere(t *testing.T) {
	t.Parallel()
	db, elsewhere := open(t, dbtest.Postgres(t)), open(t, dbtest.Postgres(t))
	keyed := event.NewTopic[order]("test.v1.Keyed")
	type plain struct{ Number int }
	free := event.NewTopic[plain]("test.v1.Free")
	var l log
	handled := make(chan int, 10)
	n := start(t, db, event.Options{}, keyed, event.Subscribe(keyed, "keyed", l.add, event.Ordered),
		event.Subscribe(free, "free", func(_ context.Context, e *plain) error { handled <- e.Number; return nil }))
	tx, err := elsewhere.SQL().BeginTx(t.Context(), &sql.TxOptions{})
	must(t, err)
	defer tx.Rollback()
	_, err = tx.ExecContext(t.Context(), "CREATE TABLE written (n INT)")
	must(t, err)
	publish(t, db, keyed, numbered("a", 3)...)
	tx2, err := db.SQL().BeginTx(t.Context(), &sql.TxOptions{})
	must(t, err)
	must(t, free.Publish(t.Context(), tx2, &plain{7}))
	must(t, tx2.Commit())
	if got := <-handled; got != 7 {
		t.Errorf("event %d", got)
	}
	if l.len() > 0 || count(t, db, "SELECT count(*) FROM chassi_outbox") != 3 {
		t.Errorf("%d events with a key overtook a transaction", l.len())
	}
	for _, g := range n.Gauges() {
		if v := g.Values(); g.Name == "events_unrelayed_seconds" && (v["ready"] != 0 || v["held"] <= 0 || v["held"] > 3600) {
			t.Errorf("the age of the oldest events: %v", v)
		}
	}
	must(t, tx.Commit())
	idle(t, db)
	if l.len() != 3 {
		t.Errorf("%d of 3 events were handled", l.len())
	}
}

// A step of the database's clock by an hour, in either direction, loses and repeats nothing, and
// a live node keeps its lease.
func TestDatabaseClockSteps(t *testing.T) {
	t.Parallel()
	address, set := dbtest.PostgresWithClock(t)
	db := open(t, address)
	topic := event.NewTopic[order](topicName)
	var l log
	began, release := make(chan struct{}, 10), make(chan struct{})
	start(t, db, event.Options{Lease: 3 * time.Second}, topic, event.Subscribe(topic, "sub", func(ctx context.Context, e *order) error {
		if e.ID == "long" {
			began <- struct{}{}
			<-release
		}
		return l.add(ctx, e)
	}))
	start(t, db, event.Options{Lease: 3 * time.Second}, topic) // would take over
	publish(t, db, topic, order{"long", 0})
	<-began
	handled := 0
	for _, ahead := range []time.Duration{time.Hour, -time.Hour, 0} {
		set(ahead)
		publish(t, db, topic, numbered("short", 5)...)
		handled += 5
		eventually(t, "events are handled after the step", func() bool { return l.len() >= handled })
		seen := time.Now()
		eventually(t, "two renewals have passed", func() bool { return time.Since(seen) > 2250*time.Millisecond })
	}
	close(release)
	idle(t, db)
	if l.len() != handled+1 || len(began) > 0 {
		t.Errorf("%d events were handled, want %d; the long one began %d times more", l.len(), handled+1, len(began))
	}
}
