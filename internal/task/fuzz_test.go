package task

import (
	"testing"

	"github.com/chassi-go/chassi/transport"
)

// Stored headers that are decoded can be stored again, and the body of a task is decoded or an
// error.
func FuzzStoredTask(f *testing.F) {
	f.Add(`{"X-Request-Id":"1"}`, []byte(`{"n":1}`))
	f.Add(`{"a":"\u0000","":"b"}`, []byte(`{"n":1e999}`))
	f.Add(`[1]`, []byte("\x00"))
	f.Fuzz(func(t *testing.T, headers string, body []byte) {
		pairs := DecodeHeaders(headers)
		valid := true
		for _, p := range pairs {
			valid = valid && transport.CheckPair(p.Key, p.Value) == nil
		}
		text, err := EncodeHeaders(pairs)
		if valid != (err == nil) {
			t.Fatalf("%q: valid %v, and %v", headers, valid, err)
		}
		if again := DecodeHeaders(text); err == nil && len(again) != len(pairs) {
			t.Errorf("%q became %q", headers, text)
		}
		var request struct {
			N int `json:"n"`
		}
		_ = codec(body).Decode(&request)
	})
}
