package event_test

import (
	"context"
	"strings"
	"testing"

	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/transport"
)

// scripted is a broker that delivers given messages, again and again until they are accepted.
type scripted struct{ messages []event.Message }

func (*scripted) Publish(_ context.Context, m []event.Message) []error { return make([]error, len(m)) }

func (*scripted) Declare(context.Context, string, string, string) (string, error) { return "", nil }

func (b *scripted) Receive(ctx context.Context, _, _, _ string, deliver func(context.Context, []event.Message) error) error {
	if err := deliver(ctx, b.messages); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (*scripted) Close() {}

// Messages that are no events, from whoever may publish at the broker, are ignored: they stop
// neither the subscription nor those that follow. What arrives twice is handled once.
func TestHostileMessages(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		key := func(key string) transport.Pairs { return transport.Pairs{{Key: "Event-Key", Value: key}} }
		good := event.Message{ID: "good", Headers: key("a"), Body: []byte(`{"id":"a","number":1}`)}
		list := []event.Message{
			{}, {ID: "nul\x00"}, {ID: strings.Repeat("i", 1000)}, {ID: "\xff/a"}, {ID: "b", Headers: key("%00")}, {ID: "c", Headers: key("%ff")},
			{ID: "d", Headers: key(strings.Repeat("k", 1000))}, {ID: "h", Headers: key("%")}, {ID: "e", Body: make([]byte, event.MaxBody+1)},
			{ID: "f", Headers: transport.Pairs{{Key: "X", Value: "\x00"}}}, {ID: "g", Headers: transport.Pairs{{Key: "Event-Target", Value: "another"}}, Body: good.Body},
			{ID: "malformed", Body: []byte("{")}, good, good,
		}
		topic := event.NewTopic[order](topicName)
		db := open(t, url)
		var l log
		start(t, db, event.Options{Backend: &scripted{list}}, topic, event.Subscribe(topic, "sub", l.add, event.Ordered))
		eventually(t, "the good event is handled", func() bool { return l.len() == 1 })
		idle(t, db)
		if n := count(t, db, "SELECT count(*) FROM chassi_dead WHERE uid = 'malformed' AND code = 'invalid_argument'"); n != 1 {
			t.Error("the malformed event is no dead letter")
		}
		if n := count(t, db, "SELECT count(*) FROM chassi_dead"); l.len() != 1 || n != 1 {
			t.Errorf("%d events were handled, %d are dead letters", l.len(), n)
		}
	})
}
