package event

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/chassi-go/chassi/transport"
)

// A received message that is not refused can be stored.
func FuzzReceivedMessage(f *testing.F) {
	f.Add("id-1", "key", "X-Request-Id", "1", []byte("{}"))
	f.Add("", "%00", "a b", "\n", []byte(""))
	f.Add("id", "%ff", "A", "%", []byte(""))
	f.Fuzz(func(t *testing.T, id, key, name, value string, body []byte) {
		m := Message{ID: id, Body: body}
		m.Headers.Set(keyHeader, key)
		m.Headers.Set(name, value)
		if m.read() != nil {
			return
		}
		stored := id + m.key + name + value
		if !utf8.ValidString(stored) || strings.ContainsRune(stored, 0) || id == "" || len(id)+len(m.key) > maxID+maxKey || transport.CheckMetadata(&m.Headers) != nil {
			t.Errorf("%+v", m)
		}
		again := Message{key: m.key, target: m.target}
		again.address()
		again.ID = id
		if err := again.read(); err != nil || again.key != m.key || again.target != m.target {
			t.Errorf("%+v became %+v, %v", m, again, err)
		}
	})
}
