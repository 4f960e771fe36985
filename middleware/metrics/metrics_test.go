package metrics_test

import (
	"context"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/calltest"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/middleware/metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func TestMetricsCountByPattern(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	counted, err := metrics.New(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []func(context.Context) error{calltest.Fine, calltest.Fine, func(context.Context) error { return calltest.ErrRefused }, calltest.Panics} {
		_ = calltest.New(method, chassi.Public).Run(t.Context(), counted, middleware.Recover())
	}
	rpc := calltest.New(calltest.Fine, chassi.Public)
	rpc.Binding.Transport, rpc.Binding.Method, rpc.Binding.Route = "grpc", "", "things.v1.Things/Do"
	rpc.Binding.Status = func(*chassi.Call, error) int { return 0 }
	_ = rpc.Run(t.Context(), counted)
	outgoing := calltest.New(calltest.Fine, chassi.Public)
	outgoing.Binding.Client, outgoing.Binding.Route = true, "things.v1.Things/Do"
	_ = outgoing.Run(t.Context(), counted)

	want := `client_requests_total{code="200",route="things.v1.Things/Do",transport="http"} 1
http_requests_total{method="POST",route="/v1/things/{id}",server="",status="200"} 2
http_requests_total{method="POST",route="/v1/things/{id}",server="",status="407"} 1
http_requests_total{method="POST",route="/v1/things/{id}",server="",status="413"} 1
rpc_requests_total{code="0",route="things.v1.Things/Do",transport="grpc"} 1
`
	if got := series(registry, "client_requests_total", "http_requests_total", "rpc_requests_total"); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
	if got := series(registry, "http_request_duration_seconds_count"); got != "http_request_duration_seconds_count{method=\"POST\",route=\"/v1/things/{id}\",server=\"\"} 4\n" {
		t.Errorf("histograms:\n%s", got)
	}
	if _, err := metrics.New(registry); err == nil {
		t.Error("registered twice without an error")
	}
}

// A stream is in no histogram of calls, and only one that was opened is in those of streams.
func TestMetricsOfStreams(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	counted, err := metrics.New(registry)
	if err != nil {
		t.Fatal(err)
	}
	during := ""
	items := func(yield func(*calltest.Item, error) bool) {
		yield(&calltest.Item{}, nil)
		yield(&calltest.Item{}, nil)
		during = series(registry, "streams_open", "stream_items_total", "rpc_requests_total")
		yield(nil, calltest.ErrRefused)
	}
	for name, method := range map[string]func(context.Context) (iter.Seq2[*calltest.Item, error], error){
		"opened":  func(context.Context) (iter.Seq2[*calltest.Item, error], error) { return items, nil },
		"refused": func(context.Context) (iter.Seq2[*calltest.Item, error], error) { return nil, calltest.ErrBroken },
		"nothing": func(context.Context) (iter.Seq2[*calltest.Item, error], error) { return nil, nil },
		"panic": func(context.Context) (iter.Seq2[*calltest.Item, error], error) {
			return func(func(*calltest.Item, error) bool) { panic("lost") }, nil
		},
	} {
		func() {
			defer func() { _ = recover() }()
			_ = calltest.NewStream(method, chassi.Public).Run(t.Context(), counted)
		}()
		if name == "opened" && !strings.Contains(during, `streams_open{route="things.v1.Things/Watch",transport="grpc"} 1`) {
			t.Errorf("while it was open:\n%s", during)
		}
	}
	outgoing := calltest.NewStream(func(context.Context) (iter.Seq2[*calltest.Item, error], error) { return items, nil }, chassi.Public)
	outgoing.Binding.Client = true
	_ = outgoing.Run(t.Context(), counted)

	want := `client_requests_total{code="7",route="things.v1.Things/Watch",transport="grpc"} 1
client_stream_duration_seconds_count{route="things.v1.Things/Watch",transport="grpc"} 1
client_stream_items_total{route="things.v1.Things/Watch",transport="grpc"} 2
client_streams_open{route="things.v1.Things/Watch",transport="grpc"} 0
rpc_requests_total{code="0",route="things.v1.Things/Watch",transport="grpc"} 1
rpc_requests_total{code="13",route="things.v1.Things/Watch",transport="grpc"} 1
rpc_requests_total{code="7",route="things.v1.Things/Watch",transport="grpc"} 1
stream_duration_seconds_count{route="things.v1.Things/Watch",transport="grpc"} 2
stream_items_total{route="things.v1.Things/Watch",transport="grpc"} 2
streams_open{route="things.v1.Things/Watch",transport="grpc"} 0
`
	if got := series(registry, "client_requests_total", "client_stream_duration_seconds_count", "client_stream_items_total", "client_streams_open", "rpc_requests_total",
		"stream_duration_seconds_count", "stream_items_total", "streams_open", "rpc_request_duration_seconds_count", "client_request_duration_seconds_count"); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}

// A status that is no HTTP status makes no series of its own.
func TestMetricsBoundTheStatus(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	counted, err := metrics.New(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range []int{-1, 600, 1 << 30} {
		th := calltest.New(calltest.Fine, chassi.Public)
		th.Binding.Status = func(*chassi.Call, error) int { return status }
		_ = th.Run(t.Context(), counted)
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
