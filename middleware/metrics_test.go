package middleware_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func TestMetricsCountByPattern(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	metrics, err := middleware.Metrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []func(context.Context) error{fine, fine, func(context.Context) error { return errRefused }, panics} {
		_ = newThing(method, chassi.Public).run(t.Context(), metrics, middleware.Recover())
	}
	rpc := newThing(fine, chassi.Public)
	rpc.binding.Transport, rpc.binding.Method, rpc.binding.Route = "grpc", "", "things.v1.Things/Do"
	rpc.binding.Status = func(*chassi.Call, error) int { return 0 }
	_ = rpc.run(t.Context(), metrics)

	want := `http_requests_total{method="POST",route="/v1/things/{id}",status="200"} 2
http_requests_total{method="POST",route="/v1/things/{id}",status="407"} 1
http_requests_total{method="POST",route="/v1/things/{id}",status="413"} 1
rpc_requests_total{code="0",route="things.v1.Things/Do",transport="grpc"} 1
`
	if got := series(registry, "http_requests_total", "rpc_requests_total"); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
	if got := series(registry, "http_request_duration_seconds_count"); got != "http_request_duration_seconds_count{method=\"POST\",route=\"/v1/things/{id}\"} 4\n" {
		t.Errorf("histograms:\n%s", got)
	}
	if _, err := middleware.Metrics(registry); err == nil {
		t.Error("registered twice without an error")
	}
}

// A status that is no HTTP status makes no series of its own.
func TestMetricsBoundTheStatus(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	metrics, err := middleware.Metrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range []int{-1, 600, 1 << 30} {
		th := newThing(fine, chassi.Public)
		th.binding.Status = func(*chassi.Call, error) int { return status }
		_ = th.run(t.Context(), metrics)
	}
	if got := series(registry, "http_requests_total"); strings.Count(got, "\n") != 1 {
		t.Errorf("want one series:\n%s", got)
	}
}

// series returns the lines of the named metrics as Prometheus reads them.
func series(registry *prometheus.Registry, names ...string) string {
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	var found strings.Builder
	for line := range strings.Lines(w.Body.String()) {
		for _, name := range names {
			if strings.HasPrefix(line, name+"{") {
				found.WriteString(line)
			}
		}
	}
	return found.String()
}
