package telemetry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chassi-go/chassi/telemetry/exporters"
)

// hostileResponses are what a collector or a tracker may return; elsewhere is where it may
// redirect to.
func hostileResponses(elsewhere string) map[string]http.HandlerFunc {
	raw := func(text string, times int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			defer conn.Close()
			for range times {
				if _, err := io.WriteString(conn, text); err != nil {
					return
				}
			}
		}
	}
	status := func(code int, headers ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(code)
		}
	}
	body := func(text string, times int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-protobuf")
			for range times {
				if _, err := io.WriteString(w, text); err != nil {
					return
				}
			}
		}
	}
	large := strings.Repeat("x", 64<<10)
	return map[string]http.HandlerFunc{
		"garbage":              raw("\x00\xff garbage\r\n\r\n", 1),
		"nothing":              raw("", 1),
		"half a response":      raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", 1),
		"an endless status":    raw("HTTP/1.1 200 "+large, 1000),
		"endless headers":      raw("HTTP/1.1 200 OK\r\nX-A: "+large, 1000),
		"a long status":        raw("HTTP/1.1 500 "+large[:32<<10]+"\r\nContent-Length: 0\r\n\r\n", 1),
		"a large response":     body(large, 1000),
		"a response of errors": status(http.StatusBadRequest),
		"a redirect":           status(http.StatusTemporaryRedirect, "Location", elsewhere),
		"another redirect":     status(http.StatusPermanentRedirect, "Location", elsewhere),
		"a pause of years":     status(http.StatusTooManyRequests, "Retry-After", "999999999"),
		"a pause until 9999":   status(http.StatusServiceUnavailable, "Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT"),
		"limits of years":      status(http.StatusTooManyRequests, "X-Sentry-Rate-Limits", "999999999:error:organization, NaN::x"),
		"partial success":      body("\x0a\x09\x08\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 1),
		"a broken protobuf":    body("\x0a\xff\xff\xff\xff", 1),
		"a hang":               func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	}
}

// Whatever the collector and the tracker respond, no redirect is followed, the log stays short, and
// the end comes within its bound.
func TestHostileReceivers(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	for name, response := range hostileResponses(other.URL) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := make(chan struct{}, 1000)
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked <- struct{}{}
				_, _ = io.Copy(io.Discard, r.Body)
				response(w, r)
			}))
			s.Config.BaseContext = func(net.Listener) context.Context { return t.Context() } // canceled before s is closed
			s.Start()
			t.Cleanup(s.Close)
			for _, c := range []Config{
				{Trace: TraceConfig{Exporter: "otlp-http", Endpoint: s.URL, Ratio: 1}},
				{Trace: TraceConfig{Exporter: "otlp-grpc", Endpoint: s.URL, Ratio: 1}}, // which is HTTP/2 in plain text, and gets a response of HTTP/1
				{Sentry: SentryConfig{DSN: strings.Replace(s.URL, "://", "://key@", 1) + "/42"}},
			} {
				var out bytes.Buffer
				c.Trace.Exporters = exporters.All()
				tel, err := New(t.Context(), "svc", "1", c, &out)
				if err != nil {
					t.Fatal(err)
				}
				_, span := tel.Tracer.Tracer("test").Start(t.Context(), "span")
				span.End()
				tel.Exceptions.Report(t.Context(), errors.New("a fault"))
				if c.Sentry.DSN != "" {
					<-asked
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				if err := tel.Stop(ctx); err != nil || ctx.Err() != nil {
					t.Errorf("the end: %v, %v", err, ctx.Err())
				}
				cancel()
				if lines := strings.Split(out.String(), "\n"); out.Len() > 10_000 || len(lines) > 20 {
					t.Errorf("%d lines and %d bytes in the log:\n%.2000s", len(lines), out.Len(), out.String())
				}
				for len(asked) > 0 {
					<-asked
				}
			}
		})
	}
	t.Cleanup(func() {
		if n := elsewhere.Load(); n != 0 {
			t.Errorf("%d requests followed a redirect", n)
		}
	})
}

// A pause that the tracker asks for is bounded, so that it is asked again when it behaves.
func TestPausesOfTheTrackerAreBounded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ header, value, want string }{
		"a minute":      {"Retry-After", "60", "60"},
		"years":         {"Retry-After", "999999999", "300"},
		"a date":        {"Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT", "300"},
		"limits":        {"X-Sentry-Rate-Limits", "60:error:organization, 10::key", "60:error:organization, 10::key"},
		"limits, years": {"X-Sentry-Rate-Limits", "10::key, 99999999:error:key", "300::organization"},
		"no number":     {"X-Sentry-Rate-Limits", "NaN:error:key", "300::organization"},
	} {
		h := http.Header{}
		h.Set(c.header, c.value)
		if shortenPause(h); h.Get(c.header) != c.want {
			t.Errorf("%s: %q becomes %q, want %q", name, c.value, h.Get(c.header), c.want)
		}
	}
}
