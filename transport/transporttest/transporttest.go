// Package transporttest verifies that a transport fulfills its contract: [Run] runs a suite of test
// cases with a real server and a real client. A new transport is complete if it passes the suite.
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
	"github.com/chassi-go/chassi/transport"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// Transport is a transport under test.
type Transport struct {
	// Start starts a real server of the transport for services, connects a client to it, and
	// returns when the server is ready. The suite stops the server. Start must use t.Cleanup to
	// release all other resources.
	Start func(t *testing.T, o Options, services ...*chassi.Service) Instance

	Cancels bool // whether a client that cancels ends the call at the server
	Streams bool // whether the transport supports streams; if not, Run omits the cases of streams
	// Strict is the key in Instance.Send of the payload format that refuses unknown members, or ""
	// if every format accepts them.
	Strict string
}

// Options configures a server of the suite.
type Options struct {
	Middleware      []chassi.Middleware
	MaxMessageBytes int // maximum size of a request
	// MaxResponseBytes is the maximum size of a response that the client or the broker accepts. A
	// broker also refuses larger requests. Zero means the default of the transport.
	MaxResponseBytes int
	MaxConcurrent    int // maximum number of concurrent calls; further calls may wait or be refused
	// Timeout is the timeout of calls, which a function in Middleware enforces.
	Timeout time.Duration
	Streams transport.StreamConfig
}

// Instance is a running server with a client.
type Instance struct {
	Caller client.Caller
	// Server is the component that the suite stops.
	Server chassi.Component
	// Send contains, for each payload format of the transport ("json" or "protobuf"), a function
	// that calls e with an encoded payload. It is nil for a transport without payloads.
	Send map[string]func(ctx context.Context, e *chassi.Endpoint, payload []byte) error
}

// patience is the maximum duration of every wait of the suite.
const patience = 20 * time.Second

// Run runs all cases of the suite for tr, as parallel subtests of t.
func Run(t *testing.T, tr Transport) {
	t.Helper()
	cases := []testCase{
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
		{"Validation", testValidation},
		{"TooLarge", testTooLarge},
		{"AnswerSizes", testResponseSizes},
		{"RequestSizes", testRequestSizes},
		{"LargeErrors", testLargeErrors},
		{"InvalidMetadata", testInvalidMetadata},
		{"UnknownMethod", testUnknownMethod},
		{"OtherTransports", testOtherTransports},
		{"MountedTwice", testMountedTwice},
		{"SilentMiddleware", testSilentMiddleware},
		{"AnsweringMiddleware", testAnsweringMiddleware},
		{"EmptyBody", testEmptyBody},
		{"Concurrency", testConcurrency},
		{"Parallel", testParallel},
		{"Drain", testDrain},
		{"DrainGivesUp", testDrainGivesUp},
	}
	if tr.Streams {
		cases = append(cases, streamCases...)
	}
	runCases(t, tr, cases)
}

// RunStreams runs only the cases of streams for tr, as parallel subtests of t. A transport with
// several formats of streams calls RunStreams for each further format.
func RunStreams(t *testing.T, tr Transport) {
	t.Helper()
	runCases(t, tr, streamCases)
}

func runCases(t *testing.T, tr Transport, cases []testCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, &fixture{transport: tr})
		})
	}
}

// streamCases contains the cases of streams.
var streamCases = []testCase{
	{"Stream", testStream},
	{"StreamRefused", testStreamRefused},
	{"StreamFails", testStreamFails},
	{"StreamPanics", testStreamPanics},
	{"StreamLeft", testStreamLeft},
	{"StreamDeadlines", testStreamDeadlines},
	{"StreamIdle", testStreamIdle},
	{"StreamStalls", testStreamStalls},
	{"StreamAges", testStreamAges},
	{"StreamLimits", testStreamLimits},
	{"StreamDrain", testStreamDrain},
	{"StreamTelemetry", testStreamTelemetry},
}

type testCase struct {
	name string
	test func(*testing.T, *fixture)
}

// fixture is the environment of one case: a server with its service, a client, and the log and the
// spans of both.
type fixture struct {
	transport Transport
	Instance
	service  *suite
	streams  *streams
	mounted  *chassi.Service
	client   *client.Client
	log      logText
	spans    *tracetest.SpanRecorder
	stopped  bool
	endpoint func(name string) *chassi.Endpoint
	called   *chassi.Service
	tracing  chassi.Middleware
}

// start starts a server of the service suite and connects a client. The functions in change may
// modify the options of the server.
func (f *fixture) start(t *testing.T, change ...func(*Options)) {
	t.Helper()
	f.service = newSuite()
	f.startService(t, f.service.endpoints(), newSuite().endpoints(), change...)
}

// startService starts a server of the service served and connects a client for the service called,
// which has the same endpoints. The functions in change may modify the options of the server.
func (f *fixture) startService(t *testing.T, served, called *chassi.Service, change ...func(*Options)) {
	t.Helper()
	f.spans = tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample())), sdktrace.WithSpanProcessor(f.spans))
	logger := slog.New(slog.NewJSONHandler(&f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	o := Options{MaxMessageBytes: 16 << 10, MaxConcurrent: 100, Timeout: patience, Streams: transport.StreamConfig{}.WithDefaults()}
	timeout := func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		return middleware.Timeout(o.Timeout)(b, next)
	}
	o.Middleware = []chassi.Middleware{
		tracing.New(provider, propagation.TraceContext{}, trustAll),
		middleware.Logging(logger),
		middleware.Recover(),
		timeout,
		middleware.Authentication(middleware.Bearer(principalOf)),
		middleware.Validation(),
	}
	for _, c := range change {
		c(&o)
	}
	f.mounted, f.endpoint = served, served.Endpoint
	f.Instance = f.transport.Start(t, o, served)
	t.Cleanup(func() { f.stop(t) })
	f.called, f.tracing = called, tracing.New(provider, propagation.TraceContext{}, trustAll)
	var err error
	f.client, err = client.New(called, f.Caller, f.tracing)
	if err != nil {
		t.Fatal(err)
	}
}

// stop stops the server, unless it has already been stopped. It fails the test if Stop returns an
// error.
func (f *fixture) stop(t *testing.T) {
	t.Helper()
	if f.stopped {
		return
	}
	f.stopped = true
	if f.service != nil {
		f.service.release()
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := f.Server.Stop(ctx); err != nil {
		t.Errorf("Stop returned the error %v, want none", err)
	}
}

// trustAll returns true, so that the server trusts the trace context of every client.
func trustAll(*chassi.Call) bool { return true }

// logText is a log buffer that is safe for concurrent use.
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

// bounded returns a context that expires after patience, and is canceled when the test ends.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// delayOf returns the retry delay of err, or 0 if err is nil.
func delayOf(err error) time.Duration {
	if e := chassi.ErrorOf(err); e != nil {
		return e.RetryAfter
	}
	return 0
}

// receive returns the next value of the channel from. If there is no value within patience, it
// fails the test with an error that names what.
func receive[T any](t *testing.T, from <-chan T, what string) (value T) {
	t.Helper()
	select {
	case value = <-from:
	case <-time.After(patience):
		t.Fatalf("got nothing within %v, want %s", patience, what)
	}
	return value
}
