package metrics_test

import (
	"testing"
	"time"

	"github.com/chassi-go/chassi/client/httpclient"
	"github.com/chassi-go/chassi/middleware/metrics"
	"github.com/prometheus/client_golang/prometheus"
)

func TestHTTPClient(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	for _, name := range []string{"rates", "mail"} {
		observe, err := metrics.HTTPClient(registry, name)
		if err != nil {
			t.Fatal(err)
		}
		o := httpclient.Options{Observe: observe}
		o.Observe("other", "GET", 200, "", time.Second)
		o.Observe("other", "GET", 0, "timeout", time.Second)
		o.Observe("other", "GET", 999, "", time.Second)
	}
	want := `http_client_requests_total{client="mail",host="other",method="GET",status="200"} 1
http_client_requests_total{client="mail",host="other",method="GET",status="other"} 1
http_client_requests_total{client="mail",host="other",method="GET",status="timeout"} 1
http_client_requests_total{client="rates",host="other",method="GET",status="200"} 1
http_client_requests_total{client="rates",host="other",method="GET",status="other"} 1
http_client_requests_total{client="rates",host="other",method="GET",status="timeout"} 1
`
	if got := series(registry, "http_client_requests_total"); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
	if got, want := series(registry, "http_client_request_duration_seconds_count"), `http_client_request_duration_seconds_count{client="mail",host="other",method="GET"} 3
http_client_request_duration_seconds_count{client="rates",host="other",method="GET"} 3
`; got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}
