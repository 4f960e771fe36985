package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chassi-go/chassi/transport"
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
	for _, value := range []string{"1", "2", "3", "4", "5", "6"} { // more than there are slots
		m.Set("X-A", value)
	}
	if got := m.Get("X-A"); got != "6" {
		t.Error(got)
	}
}

// A header's name may have every printable byte of ASCII but a colon, its value every byte
// but the control characters, a tab excepted.
func TestBytesOfHeaders(t *testing.T) {
	t.Parallel()
	for i := range 256 {
		c := byte(i)
		if got, want := isHeaderValue("a"+string([]byte{c})), c >= ' ' && c != 0x7f || c == '\t'; got != want {
			t.Errorf("value with %q: %v", c, got)
		}
		for _, prefix := range []string{"", "-", "A", "a", "1", "_"} {
			key := prefix + string([]byte{c}) + "b"
			ok, canonical := checkHeaderKey(key)
			if want := c > ' ' && c < 0x7f && c != ':'; ok != want {
				t.Errorf("name %q: %v", key, ok)
			}
			if same := http.CanonicalHeaderKey(key) == key; canonical && (!ok || !same) || !canonical && same && isToken(key) {
				t.Errorf("name %q: canonical %v", key, canonical)
			}
		}
	}
}

// A response has at most so much metadata; what is too much is not sent, and makes the call
// fail.
func TestMetadataIsBounded(t *testing.T) {
	t.Parallel()
	for extra, ok := range map[int]bool{0: true, 1: false} {
		m := responseMetadata{header: make(http.Header)}
		m.Set("X-A", "1")
		if m.Set("X-B", strings.Repeat("x", transport.MaxMetadataBytes-7+extra)); (m.invalid == nil) != ok || (m.Get("X-B") != "") != ok || m.Get("X-A") != "1" {
			t.Errorf("%d bytes: %v", m.size, m.invalid)
		}
	}
	m := responseMetadata{header: make(http.Header)}
	if m.Set("X-A", "two\nlines"); m.invalid == nil || len(m.header) != 0 {
		t.Errorf("%v, %v", m.invalid, m.header)
	}
	first := m.invalid
	if m.Set("X-B", "\x00"); m.invalid != first {
		t.Errorf("%v, want the first error", m.invalid)
	}
}
