package event

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/chassi-go/chassi/transport"
)

// A received message that is not refused can be stored.
func FuzzReceivedMessage(f *testing.F) {
	f.Add("id-1", "key", "", "X-Request-Id", "1", []byte("{}"))
	f.Add("", "\x00", "\xff", "a b", "\n", []byte(""))
	f.Fuzz(func(t *testing.T, id, key, replay, name, value string, body []byte) {
		m := Message{ID: id, Key: key, Replay: replay, Body: body}
		m.Headers.Set(name, value)
		if m.check() != nil {
			return
		}
		stored := id + key + replay + name + value
		if !utf8.ValidString(stored) || strings.ContainsRune(stored, 0) || id == "" || len(id)+len(key)+len(replay) > 2*maxID+maxKey || transport.CheckMetadata(&m.Headers) != nil {
			t.Errorf("%+v", m)
		}
	})
}
