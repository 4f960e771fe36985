package httpapi_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
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

// What is wrong with the details of a problem document loses the details, and nothing
// else.
func TestMalformedDetailsLoseTheDetails(t *testing.T) {
	t.Parallel()
	var details string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, `{"status":409,"code":"already_exists","error":"taken","message":"It is taken","details":`+details+`}`)
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
	const good = `{"@type":"type.googleapis.com/x.v1.Y","n":1}`
	for text, want := range map[string]int{
		"null": 0, "7": 0, `"text"`: 0, "{}": 0, "[]": 0, "[null," + good + ",7]": 1, "[" + strings.Repeat(good+",", 99) + good + "]": 16,
		"[" + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "]": 0, `["` + strings.Repeat("x", 100<<10) + `"]`: 0,
	} {
		details = text
		_, err := client.Invoke[struct{}](t.Context(), c, "Get", &struct{}{})
		if e := chassi.ErrorOf(err); e == nil || e.Code != chassi.AlreadyExists || e.Reason != "taken" || e.Message != "It is taken" || len(e.Details) != want {
			t.Errorf("%.40s: %v with %d details, want %d", text, err, len(e.Details), want)
		}
	}
}
