package httpapi_test

import (
	"context"
	"io"
	"log/slog"
	"math"
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

// clientOf makes a client of an endpoint with a response, and one that does not.
func clientOf(t *testing.T, c httpapi.ClientConfig) *client.Client {
	t.Helper()
	remote, err := httpapi.NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(remote.Close)
	made, err := client.New(chassi.NewService("x.v1.X",
		chassi.NewEndpoint("Get", func(context.Context, *struct{}) (*sized, error) { return nil, nil }, chassi.Route("GET /x"), chassi.Public),
		chassi.NewEndpoint("Put", func(context.Context, *sized) (*struct{}, error) { return nil, nil }, chassi.Route("PUT /x"), chassi.Public),
	), remote)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

type sized struct {
	Text string `json:"text"`
}

// A response without a body is a success only if it says that it has none, or if the method
// has no response.
func TestResponseWithoutBody(t *testing.T) {
	t.Parallel()
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	defer server.Close()
	c := clientOf(t, httpapi.ClientConfig{URL: server.URL})
	for _, s := range []struct {
		status int
		want   string
	}{{http.StatusOK, "malformed_response"}, {http.StatusCreated, "malformed_response"}, {http.StatusNoContent, ""}} {
		status = s.status
		_, err := client.Invoke[sized](t.Context(), c, "Get", &struct{}{})
		if reason := reasonOf(err); reason != s.want {
			t.Errorf("%d: %v, want %q", s.status, err, s.want)
		}
		if _, err := client.Invoke[struct{}](t.Context(), c, "Put", &sized{}); err != nil {
			t.Errorf("%d of a method without a response: %v", s.status, err)
		}
	}
}

func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	return chassi.ErrorOf(err).Reason
}

// An error arrives by its status, however long its body is and however it ends.
func TestErrorWithALongOrCutBody(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			w.Header().Set("Content-Length", "1000000") // and writes less
		}
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, strings.Repeat("x", 10_000))
	}))
	defer server.Close()
	c := clientOf(t, httpapi.ClientConfig{URL: server.URL, MaxResponseBytes: 1000})
	if _, err := client.Invoke[sized](t.Context(), c, "Get", &struct{}{}); chassi.ErrorOf(err).Code != chassi.Aborted {
		t.Errorf("long: %v", err)
	}
	c = clientOf(t, httpapi.ClientConfig{URL: server.URL})
	if _, err := client.Invoke[struct{}](t.Context(), c, "Put", &sized{}); chassi.ErrorOf(err).Code != chassi.Aborted {
		t.Errorf("cut: %v", err)
	}
}

// Limits may be as large as their type allows.
func TestLargestLimits(t *testing.T) {
	t.Parallel()
	s, err := httpapi.New(httpapi.Config{Addr: "127.0.0.1:0", MaxBodyBytes: math.MaxInt64, MaxBodyBytesPerClient: math.MaxInt64, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	echo := func(_ context.Context, r *sized) (*sized, error) { return r, nil }
	service := chassi.NewService("x.v1.X", chassi.NewEndpoint("Echo", echo, chassi.Route("POST /echo"), chassi.Public))
	if err := s.Mount(service); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Stop(context.Background()) }()
	url := "http://" + s.Addr().String()
	remote, err := httpapi.NewClient(httpapi.ClientConfig{URL: url, MaxResponseBytes: math.MaxInt64})
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	c, err := client.New(service, remote)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 100 << 10} {
		text := strings.Repeat("x", size)
		if got, err := client.Invoke[sized](t.Context(), c, "Echo", &sized{text}); err != nil || got.Text != text {
			t.Errorf("%d characters: %v", size, err)
		}
	}
	// Of a body of unknown length, the largest is counted; two at once are too many for one client.
	response, err := http.Post(url+"/echo", "application/json", io.MultiReader(strings.NewReader(`{"text":"`), strings.NewReader(strings.Repeat("x", 100<<10)+`"}`)))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("a body of unknown length: %s", response.Status)
	}
}
