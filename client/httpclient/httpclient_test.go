package httpclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/breaker"
	"github.com/chassi-go/chassi/client/httpclient"
	"github.com/chassi-go/chassi/retry"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fastRetries has pauses that a test need not wait for.
var fastRetries = httpclient.Retry{Config: retry.Config{Backoff: time.Nanosecond, MaxBackoff: time.Nanosecond}}

func newClient(t *testing.T, o httpclient.Options) *http.Client {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	transport := httpclient.New(o)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func serve(t *testing.T, handle http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return s
}

// do sends a request and returns the status and body of its response.
func do(c *http.Client, method, target, body string, header http.Header) (int, string, error) {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(context.Background(), method, target, reader)
	if err != nil {
		return 0, "", err
	}
	if header != nil {
		r.Header = header
	}
	resp, err := c.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

func TestOnlyRequestsThatMayBeRepeatedAreRetried(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method, body string
		header       http.Header
		status       int
		want         int64 // requests
	}{
		{"GET", "", nil, 503, 3},
		{"HEAD", "", nil, 502, 3},
		{"OPTIONS", "", nil, 504, 3},
		{"DELETE", "", nil, 429, 3},
		{"PUT", "x", nil, 503, 3},
		{"POST", "x", nil, 503, 1},
		{"PATCH", "x", nil, 503, 1},
		{"POST", "x", http.Header{"Idempotency-Key": {"k"}}, 503, 3},
		{"GET", "", nil, 500, 1},
		{"GET", "", nil, 501, 1},
		{"GET", "", nil, 404, 1},
		{"GET", "", nil, 200, 1},
	} {
		t.Run(fmt.Sprint(c.method, c.status, c.header), func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int64
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if text, _ := io.ReadAll(r.Body); string(text) != c.body {
					t.Errorf("request %d has the body %q", requests.Load()+1, text)
				}
				w.WriteHeader(c.status)
				fmt.Fprintf(w, "response %d", requests.Add(1))
			})
			client := newClient(t, httpclient.Options{Config: httpclient.Config{Retry: fastRetries}})
			status, text, err := do(client, c.method, s.URL, c.body, c.header)
			if want := fmt.Sprintf("response %d", c.want); err != nil || status != c.status || c.method != "HEAD" && text != want {
				t.Errorf("%d %q, %v; want the last response", status, text, err)
			}
			if requests.Load() != c.want {
				t.Errorf("%d requests, want %d", requests.Load(), c.want)
			}
		})
	}
}

// A body that cannot be read again is sent once.
func TestBodyWithoutGetBodyIsSentOnce(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.URL, io.MultiReader(strings.NewReader("x")))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := newClient(t, httpclient.Options{Config: httpclient.Config{Retry: fastRetries}}).Do(r)
	if err != nil || resp.Body.Close() != nil || requests.Load() != 1 {
		t.Errorf("%v, %d requests", err, requests.Load())
	}
}

// A connection that breaks before the response is a reason to send the request again.
func TestRetryAfterBrokenConnection(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1) < 3 {
			panic(http.ErrAbortHandler)
		}
		fmt.Fprint(w, "fine")
	})
	client := newClient(t, httpclient.Options{Config: httpclient.Config{Retry: fastRetries}})
	if _, text, err := do(client, "PUT", s.URL, "x", nil); err != nil || text != "fine" || requests.Load() != 3 {
		t.Errorf("%q, %v after %d requests", text, err, requests.Load())
	}
}

// Retried responses leave no connection behind: all requests use one.
func TestRetriedResponsesAreDrained(t *testing.T) {
	t.Parallel()
	var connections, requests atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = w.Write(make([]byte, 32<<10))
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	client := newClient(t, httpclient.Options{Config: httpclient.Config{Retry: fastRetries}})
	if status, text, err := do(client, "GET", s.URL, "", nil); status != 200 || len(text) != 32<<10 || err != nil || connections.Load() != 1 {
		t.Errorf("%d, %v with %d connections", status, err, connections.Load())
	}
}

// reply is what a fake server does with one request.
type reply func(r *http.Request) (*http.Response, error)

func (f reply) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func respond(status int, header http.Header) *http.Response {
	if header == nil {
		header = make(http.Header)
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: header, Body: io.NopCloser(strings.NewReader("text"))}
}

func TestRetryAfterIsHonouredAndBounded(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]struct {
		requests int
		atLeast  time.Duration
	}{
		"3":                     {2, 3 * time.Second},
		"10":                    {2, 10 * time.Second},
		"11":                    {1, 0},
		"99999999999":           {1, 0},
		"-5":                    {2, 0},
		"nonsense":              {2, 0},
		"+3s":                   {2, 3 * time.Second}, // as a date
		"99999999999999999999x": {2, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			began, requests := time.Now(), 0
			if header == "+3s" {
				header = began.Add(3 * time.Second).UTC().Format(http.TimeFormat)
			}
			client := newClient(t, httpclient.Options{Base: reply(func(*http.Request) (*http.Response, error) {
				if requests++; requests == 2 {
					return respond(200, nil), nil
				}
				return respond(503, http.Header{"Retry-After": {header}}), nil
			})})
			_, text, err := do(client, "GET", "http://host/", "", nil)
			if took := time.Since(began); err != nil || text != "text" || requests != want.requests || took < want.atLeast || took > want.atLeast+time.Second {
				t.Errorf("%q: %v after %d requests and %v", header, err, requests, took)
			}
		})
	}
}

// A pause that would outlast the call or its request's context, or is longer than the limit, is not
// waited for: the response is returned, with its header.
func TestLongRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limited := httpclient.Config{Retry: httpclient.Retry{Config: retry.Config{MaxRetryAfter: 4 * time.Second}}}
		for name, c := range map[string]struct {
			config   httpclient.Config
			deadline time.Duration
		}{
			"the call":             {httpclient.Config{Timeout: 4 * time.Second}, time.Hour},
			"the request":          {httpclient.Config{}, 4 * time.Second},
			"the limit":            {limited, time.Hour},
			"a deadline far away":  {limited, 30 * time.Hour},
			"an attempt's timeout": {httpclient.Config{AttemptTimeout: time.Second, Timeout: 5 * time.Second}, time.Hour},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), c.deadline)
			began, requests := time.Now(), 0
			client := newClient(t, httpclient.Options{Config: c.config, Base: reply(func(*http.Request) (*http.Response, error) {
				requests++
				return respond(503, http.Header{"Retry-After": {"5"}}), nil
			})})
			r, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://host/", nil)
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "5" || requests != 1 || time.Since(began) != 0 || resp.Body.Close() != nil {
				t.Errorf("%s: %d, %v, %d requests in %v", name, resp.StatusCode, resp.Header, requests, time.Since(began))
			}
			cancel()
		}
	})
}

// While nothing succeeds, retries end when the budget of the host is used up. Other hosts
// have their own.
func TestRetryBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		requests := make(map[string]int)
		healthy := false
		client := newClient(t, httpclient.Options{
			Config: httpclient.Config{Retry: httpclient.Retry{Budget: 0.5, Burst: 4}, Breaker: breaker.Config{Consecutive: 1000, MinCalls: 1000}},
			Base: reply(func(r *http.Request) (*http.Response, error) {
				requests[r.URL.Host]++
				if healthy {
					return respond(200, nil), nil
				}
				return respond(503, nil), nil
			}),
		})
		calls := func(n int, host string) {
			for range n {
				if _, _, err := do(client, "GET", "http://"+host+"/", "", nil); err != nil {
					t.Error(err)
				}
			}
		}
		calls(10, "a")
		calls(1, "b")
		if diff := cmp.Diff(map[string]int{"a": 14, "b": 3}, requests); diff != "" {
			t.Error(diff)
		}
		healthy = true
		calls(2, "a") // which earn one retry
		healthy = false
		calls(10, "a")
		if requests["a"] != 14+2+11 {
			t.Errorf("%d requests, want 27", requests["a"])
		}
	})
}

func TestBreakerOfEachHost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		requests := make(map[string]int)
		client := newClient(t, httpclient.Options{
			Config: httpclient.Config{Retry: httpclient.Retry{Config: retry.Config{Attempts: 1}}, MaxHosts: 2, Breaker: breaker.Config{Consecutive: 3, OpenDuration: time.Minute}},
			Base: reply(func(r *http.Request) (*http.Response, error) {
				requests[r.URL.Hostname()]++
				if r.URL.Hostname() == "bad" {
					return respond(500, nil), nil
				}
				return respond(429, nil), nil
			}),
		})
		body := &closed{Reader: strings.NewReader("x")}
		call := func(host string) error {
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+host+"/", body)
			resp, err := client.Do(r)
			if err == nil {
				resp.Body.Close()
			}
			return err
		}
		for range 3 {
			if err := errors.Join(call("bad"), call("good")); err != nil {
				t.Fatal(err)
			}
		}
		body.closes = 0
		open, ok := errors.AsType[*breaker.OpenError](call("BAD:443"))
		if !ok || open.Name != "bad:443" || open.RetryAfter != time.Minute || requests["bad"] != 3 || body.closes == 0 {
			t.Errorf("%v, %d requests, the body was closed %d times", open, requests["bad"], body.closes)
		}
		if err := errors.Join(call("good"), call("c"), call("d")); err != nil {
			t.Error(err)
		}
		if err := call("bad"); err != nil {
			t.Errorf("a host that was evicted for two others: %v", err)
		}
	})
}

type closed struct {
	io.Reader

	closes int
}

func (c *closed) Close() error { c.closes++; return nil }

// When the caller gives up, that is not a failure of the host.
func TestCanceledCallsDoNotOpenTheBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := newClient(t, httpclient.Options{Config: httpclient.Config{Breaker: breaker.Config{Consecutive: 2}}, Base: reply(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})})
		for range 5 {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Second, func() { cancel(errors.New("enough")) })
			r, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://host/", nil)
			resp, err := client.Do(r)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			if resp != nil {
				resp.Body.Close()
			}
		}
	})
}
