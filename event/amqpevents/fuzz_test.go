package amqpevents

import (
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A received message is sent again as it came.
func FuzzMessage(f *testing.F) {
	f.Add("id-1", "t", "Event-Key", "kéy", int64(1), []byte("{}"))
	f.Add("", "t", "Traceparent", "\x00", int64(0), []byte(nil))
	f.Fuzz(func(t *testing.T, id, topic, key, value string, number int64, body []byte) {
		m := messageOf(&amqp.Delivery{MessageId: id, Type: topic, Headers: amqp.Table{key: value, "N": number, "T": amqp.Table{key: value}}, Body: body})
		p := publishing(m)
		again := messageOf(&amqp.Delivery{MessageId: p.MessageId, Type: p.Type, Headers: p.Headers, Body: p.Body})
		if again.ID != m.ID || again.Key != m.Key || again.Target != m.Target || again.Replay != m.Replay || len(again.Headers) != len(m.Headers) {
			t.Errorf("%+v became %+v", m, again)
		}
	})
}

// A message without an id reaches the server, which logs it.
func TestMessageWithoutID(t *testing.T) {
	t.Parallel()
	deliveries := make(chan amqp.Delivery, 1)
	deliveries <- amqp.Delivery{}
	if batch, last, err := gather(t.Context(), deliveries); err != nil || last == nil || len(batch) != 1 {
		t.Errorf("received %v, %v, %v", batch, last, err)
	}
}
