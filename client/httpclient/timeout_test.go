package httpclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/client/httpclient"
)

func TestTimeouts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began, requests := time.Now(), 0
		client := newClient(t, httpclient.Options{Config: httpclient.Config{Timeout: 25 * time.Second, AttemptTimeout: 10 * time.Second}, Base: reply(func(r *http.Request) (*http.Response, error) {
			requests++
			<-r.Context().Done()
			return nil, r.Context().Err()
		})})
		_, _, err := do(client, "POST", "http://host/", "x", nil)
		timeout, ok := errors.AsType[*httpclient.TimeoutError](err)
		if !ok || timeout.After != 10*time.Second || !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if netErr, ok := errors.AsType[net.Error](err); !ok || !netErr.Timeout() {
			t.Errorf("%v is not a timeout", err)
		}
		began, requests = time.Now(), 0
		_, _, err = do(client, "GET", "http://host/", "", nil)
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || requests != 3 || took != 25*time.Second {
			t.Errorf("%v after %d requests and %v", err, requests, took)
		}
	})
}

// stream is a body that takes a time for each read.
type stream struct {
	ctx    context.Context //nolint:containedctx // the request's, as in net/http
	pauses []time.Duration
}

func (s *stream) Close() error { return nil }

func (s *stream) Read(p []byte) (int, error) {
	if len(s.pauses) == 0 {
		return 0, io.EOF
	}
	pause := s.pauses[0]
	s.pauses = s.pauses[1:]
	select {
	case <-time.After(pause):
		return copy(p, "."), nil
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	}
}

// A stream may last longer than a call, but must not stop.
func TestStreams(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pauses []time.Duration
		text   string
		failed bool
	}{
		"long":    {slices.Repeat([]time.Duration{9 * time.Second}, 50), strings.Repeat(".", 50), false},
		"stopped": {[]time.Duration{time.Second, time.Hour}, ".", true},
	} {
		synctest.Test(t, func(t *testing.T) {
			client := newClient(t, httpclient.Options{Config: httpclient.Config{ReadTimeout: 10 * time.Second}, Base: reply(func(r *http.Request) (*http.Response, error) {
				resp := respond(200, nil)
				resp.Body = &stream{r.Context(), c.pauses}
				return resp, nil
			})})
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://host/", nil)
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour) // the reader may be slow
			text, err := io.ReadAll(resp.Body)
			timeout, ok := errors.AsType[*httpclient.TimeoutError](err)
			if string(text) != c.text || ok != c.failed || (err != nil) != c.failed || ok && timeout.Waited != "the response body" {
				t.Errorf("%s: %q, %v", name, text, err)
			}
			if err := resp.Body.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// An error response whose body does not end counts as an attempt that took too long.
func TestRetriedResponseThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		requests := 0
		client := newClient(t, httpclient.Options{Base: reply(func(r *http.Request) (*http.Response, error) {
			resp := respond(503, nil)
			if requests++; requests == 1 {
				resp.Body = &stream{r.Context(), []time.Duration{time.Hour}}
			}
			return resp, nil
		})})
		if status, text, err := do(client, "GET", "http://host/", "", nil); status != 503 || text != "text" || err != nil || requests != 3 {
			t.Errorf("%d %q, %v after %d requests", status, text, err, requests)
		}
	})
}

func TestResponseHeaderIsBounded(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X", strings.Repeat("x", 64<<10))
	})
	client := newClient(t, httpclient.Options{Config: httpclient.Config{MaxResponseHeaderBytes: 8 << 10}})
	if _, _, err := do(client, "POST", s.URL, "", nil); err == nil || !strings.Contains(err.Error(), "exceeded") {
		t.Error(err)
	}
}

// The connection of a response that switches protocols can be written to, and may be silent.
func TestSwitchedProtocols(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		line, _ := buffered.ReadString('\n')
		fmt.Fprint(conn, line)
	})
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
	r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"echo"}}
	resp, err := newClient(t, httpclient.Options{}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	w, ok := resp.Body.(io.Writer)
	if !ok {
		t.Fatalf("%T cannot be written to", resp.Body)
	}
	fmt.Fprint(w, "hello\n")
	if text, err := io.ReadAll(resp.Body); string(text) != "hello\n" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}
