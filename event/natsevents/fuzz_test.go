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

// A received message is refused, or sent again as it came.
func FuzzMessage(f *testing.F) {
	f.Add("Event-Id", `"id-1"`, "Event-Key", `"k\u00e9y"`, []byte("{}"))
	f.Add("Event-Id", `id`, "Traceparent", "00-1", []byte(""))
	f.Add("Event-Id", `""`, "Nats-Msg-Id", "1", []byte("\x00"))
	f.Fuzz(func(t *testing.T, key, value, otherKey, otherValue string, data []byte) {
		m, err := messageOf("t", received{header: nats.Header{key: {value}, otherKey: {otherValue}}, data: data})
		if err != nil {
			return
		}
		again, err := messageOf("t", received{header: headerOf(m), data: m.Body})
		if err != nil || again.ID != m.ID || again.Key != m.Key || again.Target != m.Target || again.Replay != m.Replay || len(again.Headers) != len(m.Headers) {
			t.Errorf("%+v became %+v, %v", m, again, err)
		}
	})
}

// A header without a value is refused, as an empty one.
func TestHeaderWithoutValues(t *testing.T) {
	t.Parallel()
	if m, err := messageOf("t", received{header: nats.Header{"Event-Id": {`"1"`}, "Event-Key": nil}}); err == nil {
		t.Errorf("%+v", m)
	}
}
