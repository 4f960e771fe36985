package httpclient_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chassi-go/chassi/breaker"
	"github.com/chassi-go/chassi/client/httpclient"
	"github.com/chassi-go/chassi/retry"
	"github.com/google/go-cmp/cmp"
)

// No error has the path, the query, or user and password of the URL, once it is redacted.
func TestErrorsHaveNoSecrets(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	refused := s.Listener.Addr().String()
	s.Close()
	for name, base := range map[string]http.RoundTripper{
		"refused connection": nil,
		"error with the URL": reply(func(r *http.Request) (*http.Response, error) {
			return nil, &url.Error{Op: "Proxy", URL: r.URL.String(), Err: errors.New("no route")}
		}),
	} {
		target := "http://canary1:canary2@" + refused + "/botcanary3/send?key=canary4#canary5"
		transport := httpclient.New(httpclient.Options{Config: httpclient.Config{Retry: fastRetries}, Base: base, Logger: slog.New(slog.DiscardHandler)})
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
		resp, err := transport.RoundTrip(r)
		if resp != nil {
			resp.Body.Close()
		}
		if err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), refused) {
			t.Errorf("%s: RoundTrip returns %v", name, err)
		}
		_, _, err = do(&http.Client{Transport: transport}, "GET", target, "", nil)
		if err = httpclient.Redact(err); err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), refused) {
			t.Errorf("%s: Redact returns %v", name, err)
		}
	}
}

// observed is what was reported of one attempt.
type observed struct {
	Class, Method string
	Status        int
	Failure       string
}

func TestTraceAndObserve(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var attempts []observed
	var spans, parents []string
	client := newClient(t, httpclient.Options{
		Config: httpclient.Config{
			Retry: httpclient.Retry{Config: retry.Config{Attempts: 2, Backoff: time.Nanosecond}}, Breaker: breaker.Config{Consecutive: 4},
			HostClasses: map[string]string{"*.example.com": "example"}, TraceHosts: []string{"ours.internal:8080"},
		},
		Trace: func(ctx context.Context, method, host string, attempt int, header http.Header) (context.Context, func(int, string)) {
			if header != nil {
				header.Set("Traceparent", strconv.Itoa(attempt))
			}
			return ctx, func(status int, failure string) {
				spans = append(spans, fmt.Sprint(method, " ", host, " ", attempt, " ", status, failure))
			}
		},
		Observe: func(class, method string, status int, failure string, _ time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			attempts = append(attempts, observed{class, method, status, failure})
		},
		Base: reply(func(r *http.Request) (*http.Response, error) {
			parents = append(parents, r.Header.Get("Traceparent"))
			if r.URL.Hostname() == "ours.internal" {
				return respond(200, nil), nil
			}
			return nil, errors.New("broken")
		}),
	})
	for _, call := range []struct{ method, url string }{
		{"GET", "http://api.Example.com/a"}, {"BREW", "http://ours.internal:8080"}, {"GET", "http://ours.internal"},
		{"GET", "http://api.example.com/b"}, {"GET", "http://api.example.com/c"}, {"POST", "http://example.com"},
	} {
		_, _, _ = do(client, call.method, call.url, "", nil)
	}
	if diff := cmp.Diff([]observed{
		{"example", "GET", 0, "error"}, {"example", "GET", 0, "error"}, {"other", "_OTHER", 200, ""}, {"other", "GET", 200, ""},
		{"example", "GET", 0, "error"}, {"example", "GET", 0, "error"}, {"example", "GET", 0, "breaker_open"}, {"other", "POST", 0, "error"},
	}, attempts); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"", "", "1", "", "", "", ""}, parents); diff != "" {
		t.Error(diff)
	}
	if len(spans) != 7 || spans[1] != "GET api.example.com:80 2 0error" || spans[2] != "_OTHER ours.internal:8080 1 200" {
		t.Errorf("%q", spans)
	}
}
