package event_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/transport"
)

// An event of a committed transaction is handled by each subscription; one of a transaction that
// was rolled back is not. A *sql.Tx may publish too.
func TestPublishAndSubscribe(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		topic := event.NewTopic[order]("test.v1.Order")
		db := open(t, url)
		var first, second log
		start(t, db, event.Options{}, topic, event.Subscribe(topic, "first", first.add), event.Subscribe(topic, "second", second.add))
		publish(t, db, topic, order{"a", 1})
		err := db.Write(t.Context(), func(ctx context.Context, tx *database.Tx) error {
			must(t, topic.Publish(ctx, tx, &order{"rolled back", 2}))
			return errFails
		})
		if err == nil {
			t.Fatal("the transaction was committed")
		}
		tx, err := db.SQL().BeginTx(t.Context(), &sql.TxOptions{})
		must(t, err)
		must(t, topic.Publish(t.Context(), tx, &order{"b", 3}))
		must(t, tx.Commit())
		must(t, db.Write(t.Context(), func(ctx context.Context, tx *database.Tx) error { return topic.Publish(ctx, tx.DBTX(), &order{"c", 4}) }))
		eventually(t, "three events", func() bool { return first.len() >= 3 && second.len() >= 3 })
		idle(t, db)
		for _, l := range []*log{&first, &second} {
			if l.len() != 3 || len(l.ids) != 3 {
				t.Errorf("handled %v with the ids %v", l.list, l.ids)
			}
			for _, e := range l.list {
				if e.ID == "rolled back" {
					t.Error("an event of a transaction that was rolled back was handled")
				}
			}
		}
	})
}

// A subscription that another program has registered receives what this one relays.
func TestSubscriptionOfAnotherNode(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		topic := event.NewTopic[order]("test.v1.Order")
		db := open(t, url)
		var l log
		newer := start(t, db, event.Options{}, topic, event.Subscribe(topic, "newer", l.add))
		newer.stop()
		older := start(t, db, event.Options{}, topic)
		publish(t, db, topic, numbered("a", 5)...)
		eventually(t, "the outbox is empty", func() bool { return count(t, db, "SELECT count(*) FROM chassi_outbox") == 0 })
		older.stop()
		start(t, db, event.Options{}, topic, event.Subscribe(topic, "newer", l.add))
		eventually(t, "five events", func() bool { return l.len() == 5 })
	})
}

// The request ID and the tenant of the publishing call arrive, and the endpoint's errors decide
// about a retry.
func TestHeadersAndErrors(t *testing.T) {
	t.Parallel()
	topic := event.NewTopic[order]("test.v1.Order")
	db := open(t, dbtest.SQLite(t))
	type got struct{ request, tenant, id string }
	calls := make(chan got, 10)
	start(t, db, event.Options{}, topic, event.Subscribe(topic, "sub", func(ctx context.Context, _ *order) error {
		call := chassi.CallFrom(ctx)
		calls <- got{call.RequestID, call.In.Get(transport.TenantKey), event.ID(ctx)}
		return chassi.NewError(chassi.NotFound, "gone", "Gone")
	}))
	call := &chassi.Call{RequestID: "request-1", Principal: &chassi.Principal{Tenant: "acmé"}}
	must(t, db.Write(call.Context(t.Context()), func(ctx context.Context, tx *database.Tx) error {
		return topic.Publish(ctx, tx, &order{"a", 1})
	}))
	if g := <-calls; g.request != "request-1" || g.tenant != "acm%C3%A9" || g.id == "" {
		t.Errorf("%+v", g)
	}
	idle(t, db)
	if n := count(t, db, "SELECT count(*) FROM chassi_dead WHERE code = 'not_found' AND reason = 'gone' AND tries = 1"); n != 1 {
		t.Error("the event is no dead letter")
	}
}

// With Transactional the effect is exactly once, also if the method fails after it and if many
// run in conflict.
func TestTransactional(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		topic := event.NewTopic[order]("test.v1.Order")
		db := open(t, url)
		must(t, db.Write(t.Context(), func(ctx context.Context, tx *database.Tx) error {
			_, err := tx.Exec(ctx, "CREATE TABLE effects (n BIGINT NOT NULL)")
			if err == nil {
				_, err = tx.Exec(ctx, "INSERT INTO effects VALUES (0)")
			}
			return err
		}))
		failed := make(map[int]bool)
		var l log
		start(t, db, event.Options{}, topic, event.Subscribe(topic, "sub", func(ctx context.Context, e *order) error {
			if _, err := event.Tx(ctx).Exec(ctx, "UPDATE effects SET n = n + 1"); err != nil {
				return err
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			if e.Number%5 == 0 && !failed[e.Number] {
				failed[e.Number] = true
				return errFails
			}
			return nil
		}, event.Transactional, event.Concurrency(4)))
		publish(t, db, topic, numbered("a", 30)...)
		idle(t, db)
		if n := count(t, db, "SELECT n FROM effects"); n != 30 {
			t.Errorf("%d effects of 30 events", n)
		}
	})
}

// A mistake in the declaration is an error that names it.
func TestConfigurationErrors(t *testing.T) {
	t.Parallel()
	method := func(context.Context, *order) error { return nil }
	good := event.NewTopic[order]("test.v1.Order")
	type keyless struct{ A string }
	type twoKeys struct {
		A string `event:"key"`
		B string `event:"key"`
	}
	type otherTag struct {
		A string `event:"keys"`
	}
	s := event.NewServer(open(t, dbtest.SQLite(t)), event.Options{})
	for name, err := range map[string]error{
		"topic name": s.Publishes(event.NewTopic[order]("not a name")),
		"keep":       s.Publishes(event.NewTopic[order]("test.v1.Order", event.Keep(-time.Second))),
		"two keys":   s.Publishes(event.NewTopic[twoKeys]("test.v1.Order")),
		"other tag":  s.Publishes(event.NewTopic[otherTag]("test.v1.Order")),
		"no struct":  s.Publishes(event.NewTopic[string]("test.v1.Order")),
		"name":       s.Add(event.Subscribe(good, "a name", method)),
		"no method":  s.Add(event.Subscribe(good, "name", nil)),
		"tries":      s.Add(event.Subscribe(good, "name", method, event.Tries(0))),
		"no key": s.Add(event.Subscribe(event.NewTopic[keyless]("test.v1.Keyless"), "name",
			func(context.Context, *keyless) error { return nil }, event.Ordered)),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	must(t, s.Add(event.Subscribe(good, "name", method)))
	if err := s.Add(event.Subscribe(good, "name", method)); err == nil {
		t.Error("two subscriptions may have one name")
	}
}
