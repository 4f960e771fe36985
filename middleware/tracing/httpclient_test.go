package tracing_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/client/httpclient"
	"github.com/chassi-go/chassi/middleware/tracing"
	"github.com/chassi-go/chassi/retry"
	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// Each attempt has a span, whose context goes to the hosts that may have it.
func TestHTTPClient(t *testing.T) {
	t.Parallel()
	var parents []string
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parents = append(parents, r.Header.Get("Traceparent"))
		if len(parents) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer api.Close()
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	host := strings.TrimPrefix(api.URL, "http://")
	for _, hosts := range [][]string{{host}, nil} {
		client := httpclient.New(httpclient.Options{
			Config: httpclient.Config{TraceHosts: hosts, Retry: httpclient.Retry{Config: retry.Config{Backoff: time.Nanosecond}}},
			Trace:  tracing.HTTPClient(provider, propagation.TraceContext{}), Logger: slog.New(slog.DiscardHandler),
		})
		defer client.CloseIdleConnections()
		ctx, span := provider.Tracer("test").Start(t.Context(), "call")
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, api.URL+"/secret?key=secret", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Transport: client}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		span.End()
	}
	spans := recorder.Ended()
	if len(spans) != 5 || len(parents) != 3 {
		t.Fatalf("%d spans and %d requests", len(spans), len(parents))
	}
	failed, succeeded, call := spans[0], spans[1], spans[2]
	if failed.Status().Code != codes.Error || succeeded.Status().Code != codes.Unset || failed.Name() != "GET" || failed.SpanKind() != trace.SpanKindClient {
		t.Errorf("%v, %v", failed, succeeded)
	}
	attributes := make(map[string]string)
	for _, a := range succeeded.Attributes() {
		attributes[string(a.Key)] = a.Value.String()
	}
	address, port, _ := strings.Cut(host, ":")
	want := map[string]string{
		"http.request.method": "GET", "server.address": address, "server.port": port,
		"http.request.resend_count": "1", "http.response.status_code": "200",
	}
	if diff := cmp.Diff(want, attributes); diff != "" {
		t.Error(diff)
	}
	for i, s := range []sdktrace.ReadOnlySpan{failed, succeeded} {
		if s.Parent().SpanID() != call.SpanContext().SpanID() || !strings.Contains(parents[i], s.SpanContext().SpanID().String()) {
			t.Errorf("attempt %d sends %s", i+1, parents[i])
		}
	}
	if parents[2] != "" {
		t.Errorf("a host that must not have it gets the trace context %s", parents[2])
	}
}
