package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chassi-go/chassi/transport"
)

// T27: what could break out of a log line or a header is replaced.
func TestRequestIDT27(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		sent []string
		keep bool
	}{
		"uuid":             {[]string{"4bf92f35-77b3-4da6-a3ce-929d0e0e4736"}, true},
		"bench tool":       {[]string{"bench-request-id-0123456789"}, true},
		"all characters":   {[]string{"AZaz09-_.~:+/=@"}, true},
		"shortest":         {[]string{strings.Repeat("a", 8)}, true},
		"longest":          {[]string{strings.Repeat("a", 128)}, true},
		"absent":           {nil, false},
		"empty":            {[]string{""}, false},
		"too short":        {[]string{strings.Repeat("a", 7)}, false},
		"too long":         {[]string{strings.Repeat("a", 129)}, false},
		"two":              {[]string{"abcdefgh1", "abcdefgh2"}, false},
		"line break":       {[]string{"abcdefgh\r\nX-Admin: 1"}, false},
		"escape":           {[]string{"abcdefgh\x1b[31m"}, false},
		"NUL":              {[]string{"abcdefgh\x00"}, false},
		"line separator":   {[]string{"abcdefgh\u2028"}, false},
		"JSON":             {[]string{`abcdefgh","admin":"1`}, false},
		"space":            {[]string{"abcd efgh"}, false},
		"letter like an a": {[]string{"аbcdefgh"}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := requestID(http.Header{"X-Request-Id": c.sent})
			if kept := len(c.sent) > 0 && id == c.sent[0]; kept != c.keep {
				t.Errorf("requestID(%q) = %q, kept %v, want %v", c.sent, id, kept, c.keep)
			}
			if transport.RequestID(id) != id {
				t.Errorf("requestID(%q) = %q, which it would not accept", c.sent, id)
			}
		})
	}
}

func TestRequestIDsDiffer(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for range 10_000 {
		id := requestID(nil)
		if seen[id] {
			t.Fatalf("%s was given twice", id)
		}
		seen[id] = true
	}
}

func TestRequestIDAllocations(t *testing.T) {
	sent := http.Header{"X-Request-Id": {"bench-request-id-0123456789"}}
	if n := testing.AllocsPerRun(100, func() { requestID(sent) }); n != 0 {
		t.Errorf("keeping an id allocates %v times, want 0", n)
	}
	if n := testing.AllocsPerRun(100, func() { requestID(nil) }); n != 1 {
		t.Errorf("making an id allocates %v times, want 1", n)
	}
}

func FuzzRequestID(f *testing.F) {
	for _, id := range []string{"", "bench-request-id-0123456789", "abcdefgh\r\n", "abcdefgh\u2028"} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, sent string) {
		id := requestID(http.Header{"X-Request-Id": {sent}})
		if strings.ContainsAny(id, "\x00\x1b\r\n\"\\ ") || len(id) < 8 || len(id) > 128 {
			t.Errorf("requestID(%q) = %q", sent, id)
		}
	})
}

func BenchmarkRequestID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		requestID(nil)
	}
}
