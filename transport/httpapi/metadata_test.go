package httpapi

import (
	"net/http"
	"testing"
)

// A header's name is spelled as net/http does, or refused.
func TestMetadataKeysAreCanonical(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"Ratelimit", "RateLimit-Policy", "x-request-id", "X-Request-Id", "ETag", "a1-b2", "A1-B2", "-a", "A--b", "Odd(Key", "x_y"} {
		m := responseMetadata{header: make(http.Header)}
		m.Set(key, "v")
		if got := m.header[http.CanonicalHeaderKey(key)]; len(m.header) != 1 || len(got) != 1 || got[0] != "v" || m.Get(key) != "v" {
			t.Errorf("%q: %v", key, m.header)
		}
	}
	for _, key := range []string{"", "a b", "a:b", "a\n", "ä"} {
		m := responseMetadata{header: make(http.Header)}
		if m.Set(key, "v"); len(m.header) != 0 {
			t.Errorf("%q: %v", key, m.header)
		}
	}
	m := responseMetadata{header: make(http.Header)}
	for _, value := range []string{"1", "2", "3", "4", "5", "6"} { // more than there is room for
		m.Set("X-A", value)
	}
	if got := m.Get("X-A"); got != "6" {
		t.Error(got)
	}
}
