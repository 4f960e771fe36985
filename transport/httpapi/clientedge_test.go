package httpapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport/httpapi"
)

// The URL of a client is one of http or https with a host and without a query. The error
// does not repeat it, as it may hold a password.
func TestClientURL(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"http://h", "https://h:1/base/"} {
		if _, err := httpapi.NewClient(httpapi.ClientConfig{URL: url}); err != nil {
			t.Errorf("%q: %v", url, err)
		}
	}
	for _, url := range []string{"", "h", "//h", "ftp://h", "http://", "https:///x", "http://h?canary=1", "http://u:canary@h:x"} {
		if _, err := httpapi.NewClient(httpapi.ClientConfig{URL: url}); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// A path in the client's URL comes before that of the route, which keeps the slash at its
// end.
func TestClientURLWithAPath(t *testing.T) {
	t.Parallel()
	var asked string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.RequestURI
		w.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	type byID struct {
		ID string `json:"-" path:"id"`
	}
	service := chassi.NewService("x.v1.X", chassi.NewEndpoint("Get", refusedNoop[byID, struct{}], chassi.Route("GET /x/{id}/{$}"), chassi.Public))
	for _, base := range []string{"/base", "/base/", "/b%2Fc"} {
		remote, err := httpapi.NewClient(httpapi.ClientConfig{URL: server.URL + base})
		if err != nil {
			t.Fatal(err)
		}
		c, err := client.New(service, remote)
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.Invoke[struct{}](t.Context(), c, "Get", &byID{"a/ü"})
		if want := strings.TrimSuffix(base, "/") + "/x/a%2F%C3%BC/"; err != nil || asked != want {
			t.Errorf("%v, asked for %q, want %q", err, asked, want)
		}
		remote.Close()
	}
}

// What has no route cannot be called.
func TestClientOfAnEndpointWithoutRoute(t *testing.T) {
	t.Parallel()
	remote, err := httpapi.NewClient(httpapi.ClientConfig{URL: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.New(chassi.NewService("x.v1.X", chassi.NewEndpoint("Get", refusedNoop[struct{}, struct{}], chassi.Public)), remote)
	if err == nil || !strings.Contains(err.Error(), "x.v1.X/Get has no route") {
		t.Error(err)
	}
	type bad struct {
		C chan int `json:"-" query:"c"`
	}
	_, err = client.New(chassi.NewService("x.v1.X", chassi.NewEndpoint("Get", refusedNoop[bad, struct{}], chassi.Route("GET /x"), chassi.Public)), remote)
	if err == nil || !strings.Contains(err.Error(), "field C") {
		t.Error(err)
	}
}

// The client's timeout bounds a call whose caller has no deadline, and only such a call. The
// service learns how much time there is.
func TestClientTimeout(t *testing.T) {
	t.Parallel()
	timeouts := make(chan string, 2)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		timeouts <- r.Header.Get("X-Request-Timeout-Ms")
		<-r.Context().Done()
	}))
	defer server.Close()
	c := clientOf(t, httpapi.ClientConfig{URL: server.URL, Timeout: 10 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	var timeout string
	go func() {
		timeout = <-timeouts
		cancel()
	}()
	if _, err := client.Invoke[sized](ctx, c, "Get", &struct{}{}); chassi.ErrorOf(err).Code != chassi.Canceled {
		t.Errorf("a caller with an hour: %v", err)
	}
	if ms, err := strconv.Atoi(timeout); err != nil || ms <= 10 || ms > 3_600_000 {
		t.Errorf("the service learnt %q", timeout)
	}
	if _, err := client.Invoke[sized](t.Context(), c, "Get", &struct{}{}); chassi.ErrorOf(err).Code != chassi.DeadlineExceeded {
		t.Errorf("a caller without a deadline: %v", err)
	}
}

// Headers of a response reach the caller's middleware; a pair that HTTP cannot carry stops a
// call before it is sent.
func TestClientMetadata(t *testing.T) {
	t.Parallel()
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		w.Header().Set("X-Reply", r.Header.Get("X-Question"))
		w.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	remote, err := httpapi.NewClient(httpapi.ClientConfig{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	value, got := "why", ""
	pass := func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			call.In.Set("X-Question", value)
			err := next(ctx, call)
			got = call.Out.Get("X-Reply")
			return err
		}
	}
	c, err := client.New(chassi.NewService("x.v1.X", chassi.NewEndpoint("Get", refusedNoop[struct{}, struct{}], chassi.Route("GET /x"), chassi.Public)), remote, pass)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Invoke[struct{}](t.Context(), c, "Get", &struct{}{}); err != nil || got != "why" {
		t.Errorf("%v, %q", err, got)
	}
	value = "two\nlines"
	if _, err := client.Invoke[struct{}](t.Context(), c, "Get", &struct{}{}); err == nil || asked != 1 {
		t.Errorf("%v, asked %d times", err, asked)
	}
}
