package event_test

import (
	"context"
	"sync"
	"testing"

	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/internal/dbtest"
)

// refusing is a broker that refuses the events of one topic.
type refusing struct {
	topic string

	mu        sync.Mutex
	published int // of other topics
}

func (b *refusing) Publish(_ context.Context, messages []event.Message) []error {
	b.mu.Lock()
	defer b.mu.Unlock()
	errs := make([]error, len(messages))
	for i, m := range messages {
		if m.Topic == b.topic {
			errs[i] = errFails
		} else {
			b.published++
		}
	}
	return errs
}

func (*refusing) Declare(context.Context, string, string, string) (string, error) { return "", nil }

func (*refusing) Receive(ctx context.Context, _, _, _ string, _ func(context.Context, []event.Message) error) error {
	<-ctx.Done()
	return ctx.Err()
}

func (*refusing) Close() {}

// Events of a topic that the broker refuses, of which there are more than fit into a batch, do
// not hold up those of other topics.
func TestRefusedTopic(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		db, topic, refused := open(t, url), event.NewTopic[order](topicName), event.NewTopic[order]("test.v1.Refused")
		must(t, event.Migrate(t.Context(), db))
		for _, e := range numbered("a", 300) {
			must(t, refused.Publish(t.Context(), db.SQL(), &e))
		}
		publish(t, db, topic, numbered("a", 3)...)
		b := &refusing{topic: refused.Name()}
		start(t, db, event.Options{Backend: b}, topic)
		eventually(t, "the other events are published", func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.published >= 3
		})
		if n := count(t, db, "SELECT count(*) FROM chassi_outbox WHERE topic = $1", refused.Name()); n != 300 {
			t.Errorf("%d events of 300 are left", n)
		}
	})
}
