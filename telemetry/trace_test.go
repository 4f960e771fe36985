package telemetry

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace"

	"github.com/chassi-go/chassi/telemetry/exporters"
)

// newTelemetry logs to what it returns.
func newTelemetry(t testing.TB, c Config) (*Telemetry, *writer) {
	t.Helper()
	w := newWriter()
	close(w.opened)
	c.Trace.Exporters = exporters.All()
	tel, err := New(t.Context(), "shop", "1.2.3", c, w)
	if err != nil {
		t.Fatal(err)
	}
	return tel, w
}

// stopInTime stops it, which must not wait for a server that hangs.
func stopInTime(t *testing.T, tel *Telemetry) {
	t.Helper()
	began := time.Now()
	if err := tel.Stop(context.Background()); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if took := time.Since(began); took > stopTime+slack {
		t.Errorf("Stop took %v, want %v at most", took, stopTime)
	}
}

// slack is how long a busy machine may take for what takes no time. Waiting for a server that
// hangs takes 10 s, for each batch of spans.
const slack = 5 * time.Second

// hungListener accepts connections and never responds.
func hungListener(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var conns []net.Conn
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, c := range conns {
			c.Close()
		}
	})
	return l.Addr().String()
}

func refusingAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return l.Addr().String()
}

// hungServer reads requests and never responds.
func hungServer(t *testing.T) string {
	t.Helper()
	over := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-over
	}))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(over) })
	return s.Listener.Addr().String()
}

func sayingServer(t *testing.T, status int) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// F41: whatever is wrong with the collector, spans end without waiting, Stop
// keeps its time, and each lost span is counted.
func TestF41Collector(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]func(*testing.T) string{
		"hanging listener": hungListener,
		"hanging server":   hungServer,
		"refusing":         refusingAddress,
		"overloaded":       func(t *testing.T) string { return sayingServer(t, http.StatusServiceUnavailable) },
		"forbidding":       func(t *testing.T) string { return sayingServer(t, http.StatusForbidden) },
	} {
		for _, exporter := range []string{exportHTTP, exportGRPC} {
			t.Run(name+" "+exporter, func(t *testing.T) {
				t.Parallel()
				tel, _ := newTelemetry(t, Config{Trace: TraceConfig{Exporter: exporter, Endpoint: "http://" + address(t), Ratio: 1}})
				tracer := tel.Tracer.Tracer("test")
				const spans = 6000 // thrice the queue
				began := time.Now()
				for range spans {
					_, span := tracer.Start(t.Context(), "x")
					span.End()
				}
				if took := time.Since(began); took > slack {
					t.Errorf("%d spans took %v", spans, took)
				}
				stopInTime(t, tel)
				refused, failed := metric(t, tel, "trace_dropped_spans_total", "queue_full"), metric(t, tel, "trace_dropped_spans_total", "export_failed")
				exported := metric(t, tel, "trace_exported_spans_total", "")
				if exported != 0 || refused+failed != spans {
					t.Errorf("%d spans: %d exported, %d refused, %d failed; want none exported and all accounted for", spans, exported, refused, failed)
				}
			})
		}
	}
}

// collector speaks OTLP over HTTP and gRPC (over HTTP/2 without TLS).
type collector struct {
	*httptest.Server

	mu    sync.Mutex
	paths []string
	body  bytes.Buffer
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := new(collector)
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(c.take))
	c.Config.Protocols = new(http.Protocols)
	c.Config.Protocols.SetHTTP1(true)
	c.Config.Protocols.SetUnencryptedHTTP2(true)
	c.Start()
	t.Cleanup(c.Close)
	return c
}

func (c *collector) take(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paths = append(c.paths, r.URL.Path)
	io.Copy(&c.body, r.Body)
	if r.Header.Get("Content-Type") != "application/grpc" {
		return
	}
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	w.Write(make([]byte, 5)) // an empty message, not compressed
	w.Header().Set("Grpc-Status", "0")
}

func TestSpansArrive(t *testing.T) {
	t.Parallel()
	for exporter, path := range map[string]string{
		exportHTTP: "/v1/traces", exportGRPC: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
	} {
		t.Run(exporter, func(t *testing.T) {
			t.Parallel()
			c := newCollector(t)
			tel, w := newTelemetry(t, Config{Trace: TraceConfig{Exporter: exporter, Endpoint: c.URL, Ratio: 1}})
			_, span := tel.Tracer.Tracer("test").Start(t.Context(), "the-span-we-sent")
			span.End()
			stopInTime(t, tel)
			c.mu.Lock()
			defer c.mu.Unlock()
			if diff := cmp.Diff([]string{path}, c.paths); diff != "" {
				t.Errorf("requests (-want +got):\n%s\nlog: %s", diff, w)
			}
			for _, want := range []string{"the-span-we-sent", "service.name", "shop", "service.version", "1.2.3"} {
				if !bytes.Contains(c.body.Bytes(), []byte(want)) {
					t.Errorf("%q has not arrived", want)
				}
			}
			if n := metric(t, tel, "trace_exported_spans_total", ""); n != 1 {
				t.Errorf("trace_exported_spans_total is %d, want 1", n)
			}
		})
	}
}

func TestSamplerFollowsTheCaller(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	tel, _ := newTelemetry(t, Config{Trace: TraceConfig{Exporter: exportHTTP, Endpoint: c.URL, Ratio: 0}})
	defer tel.Stop(t.Context())
	for flags, want := range map[trace.TraceFlags]bool{0: false, trace.FlagsSampled: true} {
		caller := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: flags, Remote: true})
		_, span := tel.Tracer.Tracer("test").Start(trace.ContextWithSpanContext(t.Context(), caller), "x")
		span.End()
		if got := span.SpanContext(); got.IsSampled() != want || got.TraceID() != caller.TraceID() || got.SpanID() == caller.SpanID() {
			t.Errorf("below a caller with sampled=%v the span is %+v", want, got)
		}
	}
	_, span := tel.Tracer.Tracer("test").Start(t.Context(), "root")
	if span.SpanContext().IsSampled() {
		t.Error("a trace is sampled with ratio 0")
	}
}

// Without an exporter there are IDs, and a caller's trace is passed on untouched.
func TestTracerWithoutExporter(t *testing.T) {
	t.Parallel()
	tel, _ := newTelemetry(t, Config{})
	defer tel.Stop(t.Context())
	tracer := tel.Tracer.Tracer("test")

	ctx, root := tracer.Start(t.Context(), "root")
	_, child := tracer.Start(ctx, "child")
	_, other := tracer.Start(t.Context(), "other")
	switch {
	case !root.SpanContext().IsValid() || root.SpanContext().IsSampled() || root.IsRecording():
		t.Errorf("the root is %+v, want valid ids, not sampled, not recording", root.SpanContext())
	case trace.SpanContextFromContext(ctx).TraceID() != root.SpanContext().TraceID():
		t.Error("the context does not know the span")
	case child.SpanContext().TraceID() != root.SpanContext().TraceID():
		t.Error("the child is in another trace")
	case other.SpanContext().TraceID() == root.SpanContext().TraceID():
		t.Error("two roots are in one trace")
	}

	header := http.Header{"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, "Tracestate": {"a=b"}, "Baggage": {"k=v"}}
	ctx, _ = tracer.Start(tel.Propagator.Extract(t.Context(), headers{header}), "x")
	onward := make(http.Header)
	tel.Propagator.Inject(ctx, headers{onward})
	if diff := cmp.Diff(header, onward); diff != "" {
		t.Errorf("what is passed on differs from what came (-came +onward):\n%s", diff)
	}
}

type headers struct{ http.Header }

func (h headers) Keys() []string { return nil }

func TestTraceConfigIsChecked(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]Config{
		`"zipkin" is unknown`:          {Trace: TraceConfig{Exporter: "zipkin"}},
		"must be an http or https URL": {Trace: TraceConfig{Exporter: exportHTTP, Endpoint: "localhost:4318"}},
		"http://localhost:4318":        {Trace: TraceConfig{Exporter: exportGRPC, Endpoint: "http://"}},
		`log level "loud"`:             {Log: LogConfig{Level: "loud"}},
		`log format "xml"`:             {Log: LogConfig{Format: "xml"}},
		"sentry.dsn is not valid":      {Sentry: SentryConfig{DSN: "https://hunter2@"}},
	} {
		c.Trace.Exporters = exporters.All()
		tel, err := New(t.Context(), "s", "1", c, io.Discard)
		if err == nil || tel != nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("New is %v, %v; want an error with %q and without the DSN", tel, err, want)
			continue
		}
		if !strings.HasPrefix(err.Error(), "telemetry: ") || !strings.Contains(strings.ReplaceAll(err.Error(), "a valid", "valid"), want) {
			t.Errorf("the error is %q, want %q in it", err, want)
		}
	}
}

func BenchmarkSpanWithoutExporter(b *testing.B) { benchmarkSpan(b, Config{}) }

func BenchmarkSpanNotSampled(b *testing.B) {
	benchmarkSpan(b, Config{Trace: TraceConfig{Exporter: exportHTTP, Endpoint: "http://127.0.0.1:1"}})
}

// A program that links no exporter of OTLP refuses the setting, and warns of the variables
// that are set for a whole cluster.
func TestExporterThatIsNotLinked(t *testing.T) {
	_, err := New(t.Context(), "s", "1", Config{Trace: TraceConfig{Exporter: exportHTTP}}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "telemetry/exporters") {
		t.Errorf("%v", err)
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
	w := newWriter()
	close(w.opened)
	tel, err := New(t.Context(), "s", "1", Config{}, w)
	if err != nil {
		t.Fatal(err)
	}
	if err := tel.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if !strings.Contains(w.String(), "OTEL_EXPORTER_OTLP_ENDPOINT") || !strings.Contains(w.String(), "is ignored") {
		t.Errorf("no warning:\n%s", w)
	}
}

func benchmarkSpan(b *testing.B, c Config) {
	tel, err := New(b.Context(), "bench", "1", c, io.Discard)
	if err != nil {
		b.Fatal(err)
	}
	defer tel.Stop(context.Background())
	tracer := tel.Tracer.Tracer("bench")
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer)}
	b.ReportAllocs()
	for b.Loop() {
		_, span := tracer.Start(b.Context(), "x", options...)
		span.End()
	}
}
