package standard_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/chassi-go/chassi/client/httpclient"
	"github.com/chassi-go/chassi/standard/remote"
)

func TestHTTPClient(t *testing.T) {
	t.Parallel()
	api := httptest.NewServer(http.NotFoundHandler())
	defer api.Close()
	r := start(t, defaults(t))
	for _, name := range []string{"payments", "mail"} {
		client, err := remote.HTTPClient(r.App, name, httpclient.Config{})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Get(api.URL)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		client.CloseIdleConnections()
	}
	shown := httptest.NewRecorder()
	promhttp.HandlerFor(r.Telemetry.Registry, promhttp.HandlerOpts{}).ServeHTTP(shown, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{"mail", "payments"} {
		if !strings.Contains(shown.Body.String(), `http_client_requests_total{client="`+want+`",host="other",method="GET",status="404"} 1`) {
			t.Errorf("no requests of %s in the metrics", want)
		}
	}
}
