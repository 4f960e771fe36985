package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace"

	"github.com/chassi-go/chassi"
)

// event is the part of an event that the tests look at, and its whole text.
type event struct {
	Level       string            `json:"level"`
	Release     string            `json:"release"`
	Environment string            `json:"environment"`
	Transaction string            `json:"transaction"`
	Tags        map[string]string `json:"tags"`
	Exception   []struct {
		Type       string `json:"type"`
		Value      string `json:"value"`
		Stacktrace struct {
			Frames []struct {
				Function string `json:"function"`
				Module   string `json:"module"`
				Filename string `json:"filename"`
				Line     int    `json:"lineno"`
			} `json:"frames"`
		} `json:"stacktrace"`
	} `json:"exception"`

	text string
}

// trackerServer takes envelopes (develop.sentry.dev, Envelopes) and answers status.
func trackerServer(t *testing.T, status int) (dsn string, events <-chan event) {
	t.Helper()
	taken := make(chan event, 1000)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		lines := bytes.SplitN(body, []byte{'\n'}, 3)
		if err != nil || r.URL.Path != "/api/42/envelope/" || len(lines) < 3 {
			t.Errorf("%s %s: %q, %v: not an envelope", r.Method, r.URL, body, err)
			return
		}
		e := event{text: string(body)}
		if err := json.NewDecoder(bytes.NewReader(lines[2])).Decode(&e); err != nil {
			t.Errorf("the event is not JSON: %v: %s", err, body)
		}
		taken <- e
		w.WriteHeader(status)
	}))
	t.Cleanup(s.Close)
	return "http://publickey@" + s.Listener.Addr().String() + "/42", taken
}

type metadata map[string]string

func (m metadata) Get(key string) string { return m[key] }
func (m metadata) Set(key, value string) { m[key] = value }

const canary = "c4n4ry"

// callContext is of a call that carries secrets wherever it can.
func callContext(ctx context.Context) context.Context {
	call := &chassi.Call{
		Binding:   &chassi.Binding{Transport: "http", Method: "POST", Route: "/v1/users/{id}"},
		Peer:      netip.MustParseAddrPort("203.0.113.77:1234"),
		RequestID: "request-1",
		In:        metadata{"Authorization": "Bearer " + canary},
		Principal: &chassi.Principal{Subject: canary, Name: canary},
		Request:   &struct{ Password string }{canary},
	}
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{0xab}, SpanID: trace.SpanID{0xcd}})
	return call.Context(trace.ContextWithSpanContext(ctx, span))
}

//go:noinline
func explode(password string) (err error) {
	defer func() { err = chassi.Recovered(recover()) }()
	var list []int
	return fmt.Errorf("never %d %s", list[len(password)], password)
}

func TestPanicIsReported(t *testing.T) {
	t.Parallel()
	dsn, events := trackerServer(t, http.StatusOK)
	tel, w := newTelemetry(t, Config{Sentry: SentryConfig{DSN: dsn, Environment: "test"}})
	tel.Report(callContext(t.Context()), explode(canary))
	stopInTime(t, tel)
	if len(events) != 1 {
		t.Fatalf("%d events arrived, want 1; log: %s", len(events), w)
	}
	e := <-events
	want := map[string]string{
		"request_id": "request-1", "trace_id": trace.TraceID{0xab}.String(), "transport": "http", "method": "POST",
		"route": "/v1/users/{id}", "code": "internal", "reason": "internal",
	}
	if diff := cmp.Diff(want, e.Tags); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	if got, want := []string{e.Level, e.Release, e.Environment, e.Transaction}, []string{"fatal", "shop@1.2.3", "test", "/v1/users/{id}"}; !cmp.Equal(got, want) {
		t.Errorf("level, release, environment, transaction are %q, want %q", got, want)
	}
	x := e.Exception[0]
	if x.Type != "panic" || !strings.Contains(x.Value, "index out of range") {
		t.Errorf("the exception is %q %q", x.Type, x.Value)
	}
	stack := x.Stacktrace.Frames
	found := false
	for _, f := range stack {
		found = found || f.Function == "explode" && strings.HasSuffix(f.Filename, "telemetry/exceptions_test.go") && f.Line > 0
		if f.Function == "Recovered" || f.Function == "Stack" {
			t.Errorf("the frame %s.%s is of containing the panic, not of its way", f.Module, f.Function)
		}
	}
	if !found || stack[0].Function != "goexit" && stack[0].Function != "(*T).Run" {
		t.Errorf("the stack lacks explode, or does not begin at its outermost frame: %+v", stack)
	}
	here, err := os.Getwd() // and "/src/runtime/" is where the toolchain lies
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{canary, "203.0.113.77", "Authorization", here, "/src/runtime/"} {
		if strings.Contains(e.text, secret) {
			t.Errorf("%q is in the event: %s", secret, e.text)
		}
	}
	if n := metric(t, tel, "exceptions_sent_total", ""); n != 1 {
		t.Errorf("exceptions_sent_total is %d, want 1", n)
	}
}

type brokenError struct{}

func (brokenError) Error() string { panic("broken") }

func TestErrorsAreReportedWithoutSecrets(t *testing.T) {
	t.Parallel()
	dsn, events := trackerServer(t, http.StatusOK)
	tel, _ := newTelemetry(t, Config{Sentry: SentryConfig{DSN: dsn}})
	root := errors.New("connect postgres://shop:" + canary + "@db/shop: refused")
	tel.Exceptions.Report(t.Context(), fmt.Errorf("store: %w", root))
	tel.Exceptions.Report(t.Context(), chassi.NewError(chassi.DataLoss, "lost_page", "Gone").WithCause(root))
	tel.Exceptions.Report(t.Context(), brokenError{})
	tel.Exceptions.Report(t.Context(), nil)
	stopInTime(t, tel)
	if len(events) != 3 {
		t.Fatalf("%d events arrived, want 3", len(events))
	}
	for _, want := range []struct{ kind, text, reason string }{
		{"*errors.errorString", "store: connect postgres://***@db/shop: refused", "internal"},
		{"*errors.errorString", "connect postgres://***@db/shop: refused", "lost_page"},
		{"panic", "an error that panics when asked for its text", "internal"},
	} {
		e := <-events
		if x := e.Exception[0]; x.Type != want.kind || x.Value != want.text || e.Tags["reason"] != want.reason || e.Level != "error" {
			t.Errorf("got %q %q %q %q, want %q", e.Level, x.Type, x.Value, e.Tags["reason"], want)
		}
		if strings.Contains(e.text, canary) {
			t.Errorf("a secret is in the event: %s", e.text)
		}
	}
}

// F41: whatever is wrong with the tracker, a report does not wait, Stop keeps its
// time, and each lost report is counted.
func TestF41Tracker(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]func(*testing.T) string{
		"hanging listener": hungListener,
		"hanging server":   hungServer,
		"refusing":         refusingAddress,
		"failing":          func(t *testing.T) string { return sayingServer(t, http.StatusInternalServerError) },
		"limiting":         func(t *testing.T) string { return sayingServer(t, http.StatusTooManyRequests) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tel, _ := newTelemetry(t, Config{Sentry: SentryConfig{DSN: "http://k@" + address(t) + "/1"}})
			const reports = 10 * faultQueue
			began := time.Now()
			for range reports {
				tel.Report(t.Context(), errors.New("x"))
			}
			if took := time.Since(began); took > slack {
				t.Errorf("%d reports took %v", reports, took)
			}
			stopInTime(t, tel)
			refused, failed := metric(t, tel, "exceptions_dropped_total", "queue_full"), metric(t, tel, "exceptions_dropped_total", "send_failed")
			if sent := metric(t, tel, "exceptions_sent_total", ""); sent != 0 || refused+failed != reports {
				t.Errorf("%d reports: %d sent, %d refused, %d failed; want none sent and all accounted for", reports, sent, refused, failed)
			}
		})
	}
}

// A collector and a tracker that hang do not cost the log its last lines.
func TestLogIsFlushedWhileTheOthersHang(t *testing.T) {
	t.Parallel()
	hung := hungServer(t)
	tel, w := newTelemetry(t, Config{
		Trace:  TraceConfig{Exporter: exportHTTP, Endpoint: "http://" + hung, Ratio: 1},
		Sentry: SentryConfig{DSN: "http://k@" + hung + "/1"},
	})
	_, span := tel.Tracer.Tracer("test").Start(t.Context(), "x")
	span.End()
	tel.Report(t.Context(), errors.New("x"))
	tel.Logger.Info("the last line of work")
	stopInTime(t, tel)
	for _, want := range []string{"the last line of work", "spans were not delivered", "an exception was not delivered"} {
		if !strings.Contains(w.String(), want) {
			t.Errorf("the log lacks %q: %s", want, w)
		}
	}
}

func TestScrub(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain: index 3 of 2":                     "plain: index 3 of 2",
		"open postgres://u:p@h/d?x=1":             "open postgres://***@h/d?x=1",
		"https://token@h/x":                       "https://***@h/x",
		"header Authorization: Bearer abc.def":    "header Authorization: *** ***",
		"jwt eyJhbGciOi.eyJzdWIi.c2ln rest":       "jwt *** rest",
		`{"password":"hunter2","n":1}`:            `{"password":***,"n":1}`,
		"user=a password=hunter2 host=h":          "user=a password=*** host=h",
		"new_token = 'a b' left":                  "new_token = *** left",
		"duplicate key (email)=(ada@example.org)": "duplicate key (email)=(***@***)",
		strings.Repeat("x", maxText+1):            strings.Repeat("x", maxText) + "...",
		"\xffbad":                                 "\uFFFDbad",
	} {
		if got := scrub(text); got != want {
			t.Errorf("scrub(%.60q) = %.60q, want %.60q", text, got, want)
		}
	}
}

func TestFramesOfAnyStack(t *testing.T) {
	t.Parallel()
	stack := "goroutine 7 [running]:\nruntime/debug.Stack()\n\t/build/go/src/runtime/debug/stack.go:26 +0x5e\n" +
		"panic({0x1, 0x2})\n\t/build/go/src/runtime/panic.go:787 +0x132\n" +
		"example.org/shop/v2.(*Cart[...]).Add(0xc000, {0x1, 0x2})\n\tC:\\src\\shop\\cart.go:12 +0x1d\n" +
		"main.main()\n\t/builds/x/main.go:3\n" +
		"created by net/http.(*Server).Serve in goroutine 1\n\t/build/go/src/net/http/server.go:3454 +0x485\n"
	var got []string
	for _, f := range frames([]byte(stack)) {
		got = append(got, fmt.Sprintf("%s | %s | %s:%d | %v", f.Module, f.Function, f.Filename, f.Lineno, f.InApp))
	}
	want := []string{
		"net/http | (*Server).Serve | net/http/server.go:3454 | false",
		"main | main | main/main.go:3 | true",
		"example.org/shop/v2 | (*Cart[...]).Add | example.org/shop/v2/cart.go:12 | true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("frames (-want +got):\n%s", diff)
	}
	for _, odd := range []string{"", "\n\t\n", "\tx", "x(\n\t:", "panic(\n", strings.Repeat("a.b()\n\tc:1\n", 1000)} {
		if n := len(frames([]byte(odd))); n > maxFrames {
			t.Errorf("%d frames", n)
		}
	}
}

func BenchmarkReport(b *testing.B) {
	tel, err := New(b.Context(), "s", "1", Config{Sentry: SentryConfig{DSN: "http://k@127.0.0.1:1/1"}}, io.Discard)
	if err != nil {
		b.Fatal(err)
	}
	defer tel.Stop(context.Background())
	ctx, fault := callContext(b.Context()), explode("x")
	b.ReportAllocs()
	for b.Loop() {
		tel.Report(ctx, fault)
	}
}
