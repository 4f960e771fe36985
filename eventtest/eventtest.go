// Package eventtest gives a test access to the events that were published, and delivers them when
// the test asks for it.
package eventtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/internal/task"
)

// Recorder gives access to the events in a database from which no server relays them. Events have
// the ids "event-1", "event-2" and so on, in the order of their publication. A Recorder is not safe
// for concurrent use.
type Recorder struct {
	t  testing.TB
	db *database.DB
}

// New returns a Recorder of the events in db, and creates their tables. No [event.Server] may run on
// db. The test fails if the tables cannot be created.
func New(t testing.TB, db *database.DB) *Recorder {
	t.Helper()
	if err := event.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	return &Recorder{t: t, db: db}
}

// Event is an event that was published and not delivered.
type Event struct {
	ID, Topic, Key string
	Body           []byte // JSON
}

// Events returns all events that were published in committed transactions and not delivered, in the
// order of their publication.
func (r *Recorder) Events() []Event {
	r.t.Helper()
	ctx := context.WithoutCancel(r.t.Context())
	var list []Event
	_, err := r.db.Exec(ctx, `UPDATE chassi_outbox SET event_id = 'event-' || id WHERE event_id NOT LIKE 'event-%'`)
	if err == nil {
		fields := func(e *Event) []any { return []any{&e.ID, &e.Topic, &e.Key, &e.Body} }
		list, err = task.Select(ctx, r.db, fields, "SELECT event_id, topic, key, body FROM chassi_outbox ORDER BY id")
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return list
}

// Published returns the bodies of the events of a topic, see [Recorder.Events].
func Published[T any](r *Recorder, topic event.Topic[T]) (list []T) {
	r.t.Helper()
	for _, e := range r.Events() {
		if e.Topic != topic.Name() {
			continue
		}
		var value T
		if err := json.Unmarshal(e.Body, &value); err != nil {
			r.t.Fatalf("event %s of topic %s: %v", e.ID, e.Topic, err)
		}
		list = append(list, value)
	}
	return list
}

// Deliver calls the subscriptions, once for each event of their topics, in the order of
// publication, with middleware around each call. It returns the errors of the methods. All events
// that were published before are deleted, even after an error; events that the methods publish are
// neither delivered nor deleted.
func (r *Recorder) Deliver(ctx context.Context, subscriptions []*event.Subscription, middleware ...chassi.Middleware) error {
	r.t.Helper()
	var errs []error
	for _, e := range r.Events() {
		for _, s := range subscriptions {
			if s.Topic() != e.Topic {
				continue
			}
			if err := s.Deliver(ctx, r.db, e.ID, e.Body, middleware...); err != nil {
				errs = append(errs, fmt.Errorf("%s of %s to %s: %w", e.ID, e.Topic, s.Name(), err))
			}
		}
		if _, err := r.db.Exec(ctx, "DELETE FROM chassi_outbox WHERE event_id = $1", e.ID); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
