package disctest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chassi-go/chassi/discovery"
)

// Entry is an instance of a service in a registry.
type Entry struct {
	Host string
	Port int
}

// Usable contains entries with valid addresses, in several forms. discovery.Follow must pass them
// on as [UsableAddrs].
var Usable = []Entry{{"10.0.0.1", 80}, {"10.0.0.1", 80}, {"::ffff:10.0.0.1", 80}, {"B.example.org.", 65535}, {"b.example.org", 65535}, {"2001:DB8:0::1", 1}}

// UsableAddrs contains the addresses that discovery.Follow must pass on for [Usable].
var UsableAddrs = []string{"10.0.0.1:80", "[2001:db8::1]:1", "b.example.org:65535"}

// Unusable contains entries with invalid addresses, which discovery.Follow must skip.
var Unusable = []Entry{
	{"10.0.0.2", 0}, {"10.0.0.2", -1}, {"10.0.0.2", 70000}, {"0.0.0.0", 80}, {"::", 80}, {"224.0.0.1", 80}, {"255.255.255.255", 80}, {"ff02::1", 80},
	{"a b", 80}, {"a\nb", 80}, {"a\x00b", 80}, {"a/b", 80}, {"user@a", 80}, {"http://a", 80}, {"a,b", 80}, {"a:1", 80}, {"10.0.0.256", 80}, {"1234", 80},
	{"[10.0.0.2", 80}, {"fe80::1%a b", 80}, {"-a", 80}, {"a..b", 80}, {strings.Repeat("a", 64), 80}, {strings.Repeat("a.", 200), 80}, {"ä", 80}, {".", 80},
}

// Registry describes a registry that [Hostile] tests.
type Registry struct {
	// New returns a source for the registry at url, with a timeout of one second per call.
	New func(t *testing.T, url string) discovery.Source
	// Response writes the response to a request for all instances.
	Response func(w http.ResponseWriter, entries []Entry)
	// Malformed writes a response that contains the entries of [Usable] and malformed entries.
	Malformed func(w http.ResponseWriter)
	// Waits reports whether r waits for changes, rather than requesting all instances.
	Waits func(r *http.Request) bool
}

// Hostile tests that the responses of a registry are not trusted: unusable entries are skipped with
// one warning, entries beyond 5,000 are not used, and a malformed, endless or missing response
// causes a short error within a limited time.
func Hostile(t *testing.T, registry Registry) {
	t.Helper()
	t.Run("entries", func(t *testing.T) {
		t.Parallel()
		checkSkips(t, registry, func(w http.ResponseWriter) {
			registry.Response(w, append(append([]Entry{}, Unusable...), Usable...))
		})
	})
	t.Run("malformed entries", func(t *testing.T) {
		t.Parallel()
		checkSkips(t, registry, registry.Malformed)
	})
	t.Run("many entries", func(t *testing.T) {
		t.Parallel()
		many := make([]Entry, 20_000)
		for i := range many {
			many[i] = Entry{fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255), 80}
		}
		var l Log
		written := httptest.NewRecorder() // once: it takes its time
		registry.Response(written, many)
		updates := Follow(t, registry.New(t, serve(t, registry, func(w http.ResponseWriter) {
			maps.Copy(w.Header(), written.Header())
			_, _ = w.Write(written.Body.Bytes())
		})), &l)
		var got []string
		select {
		case got = <-updates:
		case <-time.After(patience):
		}
		if n := l.Count("too_many=15000"); len(got) != 5000 || n != 1 || len(l.String()) > 16<<10 {
			t.Errorf("got %d addresses, %d warnings with too_many=15000 and %d bytes of log, want 5000, 1 and at most 16384", len(got), n, len(l.String()))
		}
	})
	for name, response := range hostileResponses() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // or the end of the connection goes unnoticed
				response(w, r)
			}))
			t.Cleanup(server.Close)
			source := registry.New(t, server.URL)
			if c, ok := source.(interface{ Close() error }); ok {
				t.Cleanup(func() { _ = c.Close() })
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			addrs, err := source.Next(ctx)
			if err == nil || ctx.Err() != nil || len(addrs) > 0 || len(err.Error()) > 4<<10 {
				t.Errorf("got addresses %q and an error of %d bytes (%.200v), want no addresses and an error of at most 4096 bytes within %v (context: %v)",
					addrs, len(fmt.Sprint(err)), err, patience, ctx.Err())
			}
		})
	}
}

// checkSkips tests that the [Usable] entries of a response are used and all other entries are
// skipped with one warning.
func checkSkips(t *testing.T, registry Registry, response func(w http.ResponseWriter)) {
	t.Helper()
	var l Log
	var answered atomic.Int64
	updates := Follow(t, registry.New(t, serve(t, registry, func(w http.ResponseWriter) { answered.Add(1); response(w) })), &l)
	Expect(t, updates, UsableAddrs...)
	if n, lines := l.Count("entries are skipped"), l.Count("\n"); n != 1 || lines > 4 {
		t.Errorf("got %d warnings in %d lines, want 1 in at most 4:\n%s", n, lines, &l)
	}
	if strings.Contains(l.String(), "\x00") {
		t.Errorf("got a log with NUL, want NUL escaped: %q", l.String())
	}
}

// serve starts a server that sends responses, except to requests for changes, which it leaves
// waiting. It returns the URL of the server.
func serve(t *testing.T, registry Registry, response func(w http.ResponseWriter)) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if registry.Waits(r) {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		response(w)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// hostileResponses returns handlers that send malformed, oversized or endless responses, errors,
// redirects, or no response, by name.
func hostileResponses() map[string]http.HandlerFunc {
	text := func(status int, kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.Header().Set("X-Consul-Index", "7")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	endless := func(piece []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Consul-Index", "7")
			for r.Context().Err() == nil {
				if _, err := w.Write(piece); err != nil {
					return
				}
			}
		}
	}
	return map[string]http.HandlerFunc{
		"empty":         text(http.StatusOK, "application/json", ""),
		"HTML":          text(http.StatusOK, "text/html", "<html><body>Sign in</body></html>"),
		"another type":  text(http.StatusOK, "application/json", `"text"`),
		"half":          text(http.StatusOK, "application/json", `[{"Node":{"Address":"10.0.`),
		"deep":          text(http.StatusOK, "application/json", strings.Repeat("[", 1<<20)),
		"deep object":   text(http.StatusOK, "application/json", strings.Repeat(`{"items":`, 1<<18)),
		"server error":  text(http.StatusInternalServerError, "text/plain", strings.Repeat("x", 1<<20)),
		"not found":     text(http.StatusNotFound, "application/json", `{"message":"no"}`),
		"unauthorized":  text(http.StatusUnauthorized, "application/json", "{}"),
		"endless body":  endless(bytes.Repeat([]byte(" "), 64<<10)),
		"endless lines": endless(bytes.Repeat([]byte("\n"), 64<<10)),
		"endless list":  endless([]byte(strings.Repeat("[[[[{},", 1<<10))),
		"redirect loop": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) },
		"large header":  func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Large", strings.Repeat("x", 1<<20)) },
		"no response":   func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"hangs up": func(w http.ResponseWriter, _ *http.Request) {
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_ = conn.Close()
			}
		},
		"drops": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte(" "))
				_ = http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
				case <-time.After(10 * time.Millisecond):
				}
			}
		},
	}
}
