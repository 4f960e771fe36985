// Package transporttest proves that a transport keeps what every transport
// promises: [Run] passes one suite of cases through a real server and a real
// client of it. A new transport is done when it passes.
package transporttest

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/middleware/tracing"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// Transport is a transport under test.
type Transport struct {
	// Start serves services on a real server of the kind, ready when it returns, and
	// connects a client to it. The suite stops the server; what else is to be undone
	// goes into t.Cleanup.
	Start func(t *testing.T, o Options, services ...*chassi.Service) Instance

	Cancels bool // whether a caller that gives up ends the call at the server
	// Strict is the payload format that refuses members it does not know, if one of
	// Instance.Send does.
	Strict string
}

// Options are what a server of the suite is to be like.
type Options struct {
	Middleware      []chassi.Middleware
	MaxMessageBytes int // of a request
	MaxConcurrent   int // calls at once: the rest may wait or be refused
}

// Instance is a running server with a client.
type Instance struct {
	Caller client.Caller
	// Server is what an App would stop.
	Server chassi.Server
	// Send calls e with a payload as it stands on the wire, in each format that the
	// transport takes: "json", "protobuf". Nil for a transport without payloads.
	Send map[string]func(ctx context.Context, e *chassi.Endpoint, payload []byte) error
}

// patience bounds every wait of the suite.
const patience = 20 * time.Second

// Run passes the whole suite through tr.
func Run(t *testing.T, tr Transport) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(*testing.T, *fixture)
	}{
		{"Success", testSuccess},
		{"Codes", testCodes},
		{"Details", testDetails},
		{"LargeDetails", testLargeDetails},
		{"HiddenCause", testHiddenCause},
		{"Panic", testPanic},
		{"DeadlinePassed", testDeadlinePassed},
		{"DeadlineDuring", testDeadlineDuring},
		{"DeadlinePropagates", testDeadlinePropagates},
		{"Cancel", testCancel},
		{"Authentication", testAuthentication},
		{"RequestID", testRequestID},
		{"Metadata", testMetadata},
		{"Trace", testTrace},
		{"Secrets", testSecrets},
		{"Malformed", testMalformed},
		{"UnknownFields", testUnknownFields},
		{"TooLarge", testTooLarge},
		{"UnknownMethod", testUnknownMethod},
		{"Concurrency", testConcurrency},
		{"Parallel", testParallel},
		{"Drain", testDrain},
		{"DrainGivesUp", testDrainGivesUp},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, &fixture{transport: tr})
		})
	}
}

// fixture is one server of the suite's service with what watches it.
type fixture struct {
	transport Transport
	Instance
	service  *suite
	client   *client.Client
	log      logText
	spans    *tracetest.SpanRecorder
	stopped  bool
	endpoint func(name string) *chassi.Endpoint
}

// start serves the suite. Options may be changed before.
func (f *fixture) start(t *testing.T, change ...func(*Options)) {
	t.Helper()
	f.spans = tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample())), sdktrace.WithSpanProcessor(f.spans))
	logger := slog.New(slog.NewJSONHandler(&f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	o := Options{MaxMessageBytes: 16 << 10, MaxConcurrent: 100, Middleware: []chassi.Middleware{
		tracing.New(provider, propagation.TraceContext{}, trustAll),
		middleware.Logging(logger),
		middleware.Recover(),
		middleware.Deadline(patience),
		middleware.Authentication(middleware.Bearer(principalOf)),
		middleware.Validation(),
	}}
	for _, c := range change {
		c(&o)
	}
	f.service = newSuite()
	served := f.service.endpoints()
	f.endpoint = served.Endpoint
	f.Instance = f.transport.Start(t, o, served)
	t.Cleanup(func() {
		if f.stopped {
			return
		}
		f.service.release()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := f.Server.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	var err error
	f.client, err = client.New(newSuite().endpoints(), f.Caller, tracing.New(provider, propagation.TraceContext{}, trustAll))
	if err != nil {
		t.Fatal(err)
	}
}

// trustAll believes every caller's trace context, over whatever transport it came.
func trustAll(*chassi.Call) bool { return true }

// logText is a log that may be read while it is written.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// bounded is a context that no case can outlive.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// receive waits for one value.
func receive[T any](t *testing.T, from <-chan T, what string) (value T) {
	t.Helper()
	select {
	case value = <-from:
	case <-time.After(patience):
		t.Fatalf("%s: nothing within %v", what, patience)
	}
	return value
}
