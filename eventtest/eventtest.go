// Package eventtest lets a test inspect the events that were published and deliver them to
// subscriptions.
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

// Recorder inspects and delivers the events that are published in a database on which no
// [event.Server] runs. The events have the IDs "event-1", "event-2" and so on, in the order of
// their publication; on PostgreSQL, the events of transactions that were rolled back leave gaps. A
// Recorder is not safe for concurrent use.
type Recorder struct {
	t  testing.TB
	db *database.DB
}

// New creates the tables of events in db and returns a Recorder of the events in db. No
// [event.Server] may run on db. The test fails if the tables cannot be created.
func New(t testing.TB, db *database.DB) *Recorder {
	t.Helper()
	if err := event.Migrate(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	return &Recorder{t: t, db: db}
}

// Event is an event that was published and has not been delivered.
type Event struct {
	ID, Topic, Key string
	Body           []byte // JSON
}

// Events returns all events that were published in committed transactions and have not been
// delivered, in the order of their publication. The test fails if they cannot be read.
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

// Published returns those events of [Recorder.Events] that belong to a topic, decoded and in the
// same order. The test fails if the events cannot be read or decoded.
func Published[T any](r *Recorder, topic event.Topic[T]) (list []T) {
	r.t.Helper()
	for _, e := range r.Events() {
		if e.Topic != topic.Name() {
			continue
		}
		var value T
		if err := json.Unmarshal(e.Body, &value); err != nil {
			r.t.Fatalf("decode event %s of topic %s as a %T: %v", e.ID, e.Topic, value, err)
		}
		list = append(list, value)
	}
	return list
}

// Deliver calls each subscription once for each event of its topic, in the order of publication.
// The calls pass through middleware, the first one outermost. Deliver deletes all events that were
// published before it was called, even those whose calls failed or that have no subscription, and
// returns the errors of the calls and of the deletions. Events that the methods publish are neither
// delivered nor deleted.
func (r *Recorder) Deliver(ctx context.Context, subscriptions []*event.Subscription, middleware ...chassi.Middleware) error {
	r.t.Helper()
	var errs []error
	for _, e := range r.Events() {
		for _, s := range subscriptions {
			if s.Topic() != e.Topic {
				continue
			}
			if err := s.Deliver(ctx, r.db, e.ID, e.Body, middleware...); err != nil {
				errs = append(errs, fmt.Errorf("deliver event %s of topic %s to %s: %w", e.ID, e.Topic, s.Name(), err))
			}
		}
		if _, err := r.db.Exec(ctx, "DELETE FROM chassi_outbox WHERE event_id = $1", e.ID); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
