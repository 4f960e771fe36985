package httpapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
)

// echoLines takes over the connection and sends each line back, until reads fail.
func echoLines(ended chan<- error, stay bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, b, err := http.NewResponseController(w).Hijack()
		if err != nil {
			WriteError(w, r, err)
			return
		}
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n")
		for {
			_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
			line, err := b.ReadString('\n')
			if err != nil {
				ended <- err
				if !stay {
					fmt.Fprint(conn, "bye\n")
					_ = conn.Close()
				}
				return
			}
			fmt.Fprint(conn, line)
		}
	})
}

func handlerServer(t *testing.T, endpoints ...*chassi.Endpoint) *Server {
	t.Helper()
	s := newTestServer(t)
	if err := s.Mount(chassi.NewService("web.v1.Web", endpoints...)); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func dialLines(t *testing.T, s *Server) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprint(conn, "GET /lines HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\nhello\n")
	b := bufio.NewReader(conn)
	response, err := http.ReadResponse(b, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", response, err)
	}
	if line, err := b.ReadString('\n'); line != "hello\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return conn, b
}

// A connection that a handler has taken over counts as a call, and ends when the server drains.
func TestHijackedConnectionEndsAtDrain(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	s := handlerServer(t, NewEndpoint("Lines", "GET /lines", echoLines(ended, false), chassi.Public))
	_, b := dialLines(t, s)
	if got := s.calls.String(); got != "GET /lines (1)" {
		t.Errorf("in flight: %q", got)
	}
	s.Drain()
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the handler's read ended with %v", err)
	}
	if rest, err := io.ReadAll(b); string(rest) != "bye\n" || err != nil {
		t.Errorf("the client got %q, %v", rest, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
	if n := s.calls.Len(); n != 0 {
		t.Errorf("%d calls in flight after the stop", n)
	}
}

// A connection that its handler does not close is closed when the time to stop is over. The error
// names its route, as it does for calls, of which there may be some beside it.
func TestHijackedConnectionIsClosedAtStop(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		calls bool
		want  string
	}{"alone": {false, "in flight: GET /lines (2): context canceled"}, "beside a call": {true, "in flight: GET /lines (2), GET /wait (1): context canceled"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended, begun := make(chan error, 2), make(chan struct{})
			wait := chassi.NewEndpoint("Wait", func(ctx context.Context, _ *struct{}) (*struct{}, error) {
				close(begun)
				<-ctx.Done()
				return nil, ctx.Err()
			}, chassi.Route("GET /wait"), chassi.Public)
			s := handlerServer(t, NewEndpoint("Lines", "GET /lines", echoLines(ended, true), chassi.Public), wait)
			_, b := dialLines(t, s)
			dialLines(t, s)
			if c.calls {
				conn, err := net.Dial("tcp", s.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				fmt.Fprint(conn, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
				<-begun
			}
			ctx, cancel := context.WithCancel(context.Background())
			go func() { <-ended; <-ended; cancel() }()
			if err := s.Stop(ctx); !errors.Is(err, context.Canceled) || !strings.HasSuffix(err.Error(), c.want) {
				t.Errorf("stop: %v, want %q", err, c.want)
			}
			if rest, _ := io.ReadAll(b); len(rest) > 0 {
				t.Errorf("the client got %q", rest)
			}
		})
	}
}

// A connection that is taken over while the server stops ends at once, also if the server still
// waits for calls.
func TestHijackedConnectionEndsDuringStop(t *testing.T) {
	t.Parallel()
	ended, begun, hijack := make(chan error, 1), make(chan struct{}, 2), make(chan struct{})
	lines := echoLines(ended, false)
	s := handlerServer(t,
		NewEndpoint("Lines", "GET /lines", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			begun <- struct{}{}
			<-hijack
			lines.ServeHTTP(w, r)
		}), chassi.Public),
		chassi.NewEndpoint("Wait", func(ctx context.Context, _ *struct{}) (*struct{}, error) {
			begun <- struct{}{}
			select {
			case <-ended:
			case <-ctx.Done():
				t.Error("the connection did not end")
			}
			return &struct{}{}, nil
		}, chassi.Route("GET /wait"), chassi.Public))
	var conns [2]net.Conn
	for i, path := range []string{"/lines", "/wait"} {
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path)
		<-begun
		conns[i] = conn
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(ctx) }()
	for { // until the listener is closed
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			break
		}
		_ = conn.Close()
	}
	close(hijack)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if text, err := io.ReadAll(conns[0]); err != nil || !strings.HasSuffix(string(text), "bye\n") {
		t.Errorf("the client got %q, %v", text, err)
	}
}

// An http.Handler of a service has the policy, the limits and the errors of endpoints.
func TestHandlerEndpoint(t *testing.T) {
	t.Parallel()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(w, r.Body); err != nil {
			WriteError(w, r, err)
			return
		}
		fmt.Fprint(w, r.PathValue("name"))
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
	})
	s := handlerServer(t,
		NewEndpoint("Echo", "POST /echo/{name}", handler, chassi.Public, chassi.MaxBody(3)),
		NewEndpoint("Secret", "GET /secret", handler))
	defer func() { _ = s.Stop(context.Background()) }()
	base := "http://" + s.Addr().String()
	if got, text := exchangeFile(t, "POST", base+"/echo/n", nil, strings.NewReader("abc")); got.StatusCode != http.StatusOK || text != "abcn" {
		t.Errorf("%d %q", got.StatusCode, text)
	}
	if got, text := exchangeFile(t, "POST", base+"/echo/n", nil, strings.NewReader("abcd")); got.StatusCode != http.StatusRequestEntityTooLarge || got.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %q", got.StatusCode, text)
	}
	if got, _ := exchangeFile(t, "GET", base+"/secret", nil, nil); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("%d without credentials", got.StatusCode)
	}
	for want, e := range map[string]*chassi.Endpoint{
		"has no handler": NewEndpoint("A", "GET /a", nil), `has route "/a"`: NewEndpoint("A", "/a", handler), `endpoint name "a"`: NewEndpoint("a", "GET /a", handler),
	} {
		if err := newTestServer(t).Mount(chassi.NewService("a.v1.A", e)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
