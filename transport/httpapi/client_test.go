package httpapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport/httpapi"
)

// Retry-After is seconds or a date; what is neither says nothing. It need not be one of
// ours who answers.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	var header string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", header)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()
	remote, err := httpapi.NewClient(httpapi.ClientConfig{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	c, err := client.New(chassi.NewService("x.v1.X", chassi.NewEndpoint("Get", func(context.Context, *struct{}) (*struct{}, error) { return nil, nil }, chassi.Route("GET /x"), chassi.Public)), remote)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][2]time.Duration{
		"7": {7 * time.Second, 7 * time.Second}, "": {}, "soon": {}, "-1": {}, "Mon, 02 Jan 2006 15:04:05 GMT": {},
		time.Now().Add(time.Minute).UTC().Format(http.TimeFormat): {50 * time.Second, time.Minute},
	} {
		header = text
		_, err := client.Invoke[struct{}](t.Context(), c, "Get", &struct{}{})
		if e := chassi.ErrorOf(err); e == nil || e.Code != chassi.Unavailable || e.RetryAfter < want[0] || e.RetryAfter > want[1] {
			t.Errorf("%q: %v, retry after %v, want %v", text, err, e.RetryAfter, want)
		}
	}
}
