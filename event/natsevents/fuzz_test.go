package natsevents

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// received is a message of a stream.
type received struct {
	jetstream.Msg

	header nats.Header
	data   []byte
}

func (r received) Headers() nats.Header { return r.header }
func (r received) Data() []byte         { return r.data }

func (r received) Metadata() (*jetstream.MsgMetadata, error) { return new(jetstream.MsgMetadata), nil }

// A received message can be sent again as it came.
func FuzzMessage(f *testing.F) {
	f.Add("Nats-Msg-Id", "id-1", "Event-Key", "k%C3%A9y", []byte("{}"))
	f.Add("Nats-Msg-Id", "", "Traceparent", "00-1", []byte(""))
	f.Add("Nats-Expected-Stream", "a", "", "\n", []byte("\x00"))
	f.Fuzz(func(t *testing.T, key, value, otherKey, otherValue string, data []byte) {
		m, err := messageOf("t", received{header: nats.Header{key: {value}, otherKey: {otherValue}}, data: data})
		if err != nil {
			t.Fatal(err)
		}
		again, err := messageOf("t", received{header: headerOf(m), data: m.Body})
		if err != nil || again.ID != m.ID || len(again.Headers) != len(m.Headers) {
			t.Errorf("%+v became %+v, %v", m, again, err)
		}
	})
}

// A header without a value is an empty one.
func TestHeaderWithoutValues(t *testing.T) {
	t.Parallel()
	if m, err := messageOf("t", received{header: nats.Header{"Nats-Msg-Id": nil}}); err != nil || m.ID != "" {
		t.Errorf("%+v, %v", m, err)
	}
}
