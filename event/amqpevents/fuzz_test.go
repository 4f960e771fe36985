package amqpevents

import (
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A received message can be sent again as it came.
func FuzzMessage(f *testing.F) {
	f.Add("id-1", "t", "Event-Key", "kéy", int64(1), []byte("{}"))
	f.Add("", "t", "Traceparent", "\x00", int64(0), []byte(nil))
	f.Fuzz(func(t *testing.T, id, topic, key, value string, number int64, body []byte) {
		m := messageOf(&amqp.Delivery{MessageId: id, Type: topic, Headers: amqp.Table{key: value, "N": number, "T": amqp.Table{key: value}}, Body: body})
		p := publishing(m)
		again := messageOf(&amqp.Delivery{MessageId: p.MessageId, Type: p.Type, Headers: p.Headers, Body: p.Body})
		if again.ID != m.ID || len(again.Headers) != len(m.Headers) {
			t.Errorf("%+v became %+v", m, again)
		}
	})
}
