package httpapi

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
)

// counted counts the calls whose method ran.
func counted(t *testing.T, c Config) (addr string, calls *atomic.Int64) {
	t.Helper()
	calls = new(atomic.Int64)
	url := serveTest(t, c, nil, func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			err := next(ctx, call)
			if b.Route != "unmatched" && err == nil {
				calls.Add(1)
			}
			return err
		}
	})
	return strings.TrimPrefix(url, "http://"), calls
}

// talk sends raw bytes and returns all that comes back until the connection ends
// or nothing comes for a while.
func talk(t *testing.T, addr, raw string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, raw) }() // the server may stop reading
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	response, _ := io.ReadAll(conn) // a reset is an end too
	return string(response)
}

const echoHead = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"

// Fault 17: a request that two servers could read in two ways gets 400 and the
// end of the connection; what follows it is never taken for a request.
func TestFault17Smuggling(t *testing.T) {
	t.Parallel()
	const next = "GET /things/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	addr, calls := counted(t, Config{})
	for name, raw := range map[string]string{
		"two lengths":           echoHead + "Content-Length: 2\r\nContent-Length: 12\r\n\r\n{}" + next,
		"negative length":       echoHead + "Content-Length: -1\r\n\r\n{}" + next,
		"length with plus":      echoHead + "Content-Length: +2\r\n\r\n{}" + next,
		"length list":           echoHead + "Content-Length: 2, 12\r\n\r\n{}" + next,
		"unknown coding":        echoHead + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + next,
		"two codings":           echoHead + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + next,
		"space before colon":    echoHead + "Content-Length : 2\r\n\r\n{}" + next,
		"NUL in header":         echoHead + "X-A: a\x00b\r\nContent-Length: 2\r\n\r\n{}" + next,
		"bare CR in header":     echoHead + "X-A: a\rb\r\nContent-Length: 2\r\n\r\n{}" + next,
		"no host":               "GET /things/a HTTP/1.1\r\n\r\n" + next,
		"two hosts":             "GET /things/a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + next,
		"bad version":           "GET /things/a HTTP/3.9\r\nHost: x\r\n\r\n" + next,
		"bad method":            "G(T /things/a HTTP/1.1\r\nHost: x\r\n\r\n" + next,
		"control in path":       "GET /things/\x01a HTTP/1.1\r\nHost: x\r\n\r\n" + next,
		"chunk size overflow":   echoHead + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}\r\n0\r\n\r\n" + next,
		"chunk size negative":   echoHead + "Transfer-Encoding: chunked\r\n\r\n-1\r\n{}\r\n0\r\n\r\n" + next,
		"chunk without its end": echoHead + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n" + next,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			response := talk(t, addr, raw)
			if n := strings.Count(response, "HTTP/1.1 "); n > 1 || (n == 1 && !strings.HasPrefix(response, "HTTP/1.1 4") && !strings.HasPrefix(response, "HTTP/1.1 5")) {
				t.Errorf("%q", response)
			}
			if strings.HasPrefix(response, "HTTP/1.1 500") || strings.Contains(response, "smuggled") {
				t.Errorf("%q", response)
			}
		})
	}
	t.Cleanup(func() {
		if n := calls.Load(); n != 0 {
			t.Errorf("%d calls came through", n)
		}
	})
}

// A length beside chunks is void (RFC 9112, section 6.3), and the connection
// ends behind such a request.
func TestFault17LengthAndChunks(t *testing.T) {
	t.Parallel()
	addr, calls := counted(t, Config{})
	const next = "GET /things/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, raw := range []string{
		echoHead + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		echoHead + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n2;ext=\"\r\"\r\n{}\r\n0\r\n\r\n",
	} {
		if response := talk(t, addr, raw+next); strings.Contains(response, "smuggled") || strings.Count(response, "HTTP/1.1 ") != 1 {
			t.Errorf("%q", response)
		}
	}
	// A folded line is one value (RFC 9112, section 5.2), never a header of its own.
	response := talk(t, addr, "POST /echo HTTP/1.1\r\nHost: x\r\nX-A: b\r\n Content-Length: 100\r\n\r\n{}"+next)
	if strings.Contains(response, "smuggled") || calls.Load() > 2 { // a chunked one before, and this one, without a body
		t.Errorf("%q", response)
	}
}

// Fault 16: a header that is too long or has too many lines gets 431.
func TestFault16HeaderBombs(t *testing.T) {
	t.Parallel()
	addr, calls := counted(t, Config{})
	for name, raw := range map[string]string{
		"1 MiB header":   "GET /things/a HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 1<<20) + "\r\n\r\n",
		"10,000 headers": "GET /things/a HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: a\r\n", 10_000) + "\r\n",
		"64 KiB path":    "GET /things/" + strings.Repeat("a", 64<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		if response := talk(t, addr, raw); !strings.HasPrefix(response, "HTTP/1.1 431") {
			t.Errorf("%s: %.100q, want 431", name, response)
		}
	}
	if calls.Load() != 0 {
		t.Errorf("%d calls came through", calls.Load())
	}
}

// meter counts what is read of a body.
type meter struct {
	io.Reader
	read int64
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	m.read += int64(n)
	return n, err
}

// Fault 14: of a body over the limit no more than that is read, and nothing if
// its length was declared.
func TestFault14LargeBodies(t *testing.T) {
	t.Parallel()
	s := offline(t, Config{MaxBodyBytes: 1 << 16})
	for name, c := range map[string]struct {
		length, most int64
	}{"declared": {1 << 20, 0}, "chunked": {-1, 1<<16 + 1}} {
		body := &meter{Reader: strings.NewReader(`{"text":"` + strings.Repeat("x", 1<<20) + `"}`)}
		r := httptest.NewRequest(http.MethodPost, "/echo", body)
		r.Header.Set("Content-Type", "application/json")
		r.ContentLength = c.length
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != http.StatusRequestEntityTooLarge || body.read > c.most || w.Header().Get("Connection") != "close" {
			t.Errorf("%s: %d, read %d bytes, Connection %q", name, w.Code, body.read, w.Header().Get("Connection"))
		}
	}
}

// Fault 15: a compressed body is refused before a byte of it is expanded.
func TestFault15DecompressionBomb(t *testing.T) {
	t.Parallel()
	s := offline(t, Config{})
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(make([]byte, 10<<20))
	_ = z.Close()
	for _, coding := range []string{"gzip", "deflate", "gzip, gzip", "br", "zstd", "GZIP"} {
		body := &meter{Reader: bytes.NewReader(bomb.Bytes())}
		r := httptest.NewRequest(http.MethodPost, "/echo", body)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Content-Encoding", coding)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != http.StatusUnsupportedMediaType || body.read > drainBytes {
			t.Errorf("%s: %d, read %d bytes", coding, w.Code, body.read)
		}
	}
}

// offline is a server that listens to nothing.
func offline(t testing.TB, c Config, middleware ...chassi.Middleware) *Server {
	t.Helper()
	s, err := New(c, middleware...)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Mount(chassi.NewService("test.v1.Test",
		chassi.NewEndpoint("Echo", func(_ context.Context, r *echoRequest) (*echoResponse, error) {
			return &echoResponse{Text: r.Text}, nil
		}, chassi.Route("POST /echo"), chassi.Public),
		chassi.NewEndpoint("Thing", func(_ context.Context, r *thingRequest) (*echoResponse, error) {
			return &echoResponse{Text: r.ID}, nil
		}, chassi.Route("GET /things/{id}"), chassi.Public),
	))
	if err != nil {
		t.Fatal(err)
	}
	s.mux.Handle("/", s.unmatched)
	return s
}

// Fault 18: nothing that a handler or a client says breaks out of a header line.
func TestFault18HeaderInjection(t *testing.T) {
	t.Parallel()
	s := offline(t, Config{}, func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			for _, evil := range []string{"a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\x00", "a\rb"} {
				call.Out.Set("X-Value", evil)
				call.Out.Set(evil, "v")
				call.Out.Set("X-Evil:", "1")
			}
			call.Out.Set("X-Good", "tab\tand ü")
			return next(ctx, call)
		}
	})
	r := httptest.NewRequest(http.MethodGet, "/things/a", nil)
	r.Header.Set("X-Request-ID", "12345678\r\nX-Evil: 1")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	for key, values := range w.Header() {
		if strings.ContainsAny(key+strings.Join(values, ""), "\r\n\x00") || strings.Contains(key, "Evil") || key == "X-Value" {
			t.Errorf("%q: %q", key, values)
		}
	}
	if w.Header().Get("X-Good") != "tab\tand ü" {
		t.Errorf("%q", w.Header().Get("X-Good"))
	}
}

// Fault 22: slow headers, slow bodies and slow readers are cut off in time, and no other client
// notices.
func TestFault22SlowClients(t *testing.T) {
	t.Parallel()
	addr, _ := counted(t, Config{ReadHeaderTimeout: 100 * time.Millisecond, ReadTimeout: 200 * time.Millisecond, IdleTimeout: 200 * time.Millisecond, WriteTimeout: 2 * time.Second})
	slow := map[string]string{
		"no byte":    "",
		"header":     "POST /echo HTTP/1.1\r\nHost: x\r\nX-A: ",
		"body":       echoHead + "Content-Length: 100\r\n\r\n{\"te",
		"chunk":      echoHead + "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"te",
		"idle after": "GET /things/a HTTP/1.1\r\nHost: x\r\n\r\n",
	}
	var conns []net.Conn
	for name, raw := range slow {
		for range 20 {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, raw); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			conns = append(conns, conn)
		}
	}
	if response, _ := ask(t, "GET", "http://"+addr+"/things/a", ""); response.StatusCode != http.StatusOK {
		t.Errorf("beside slow clients: %d", response.StatusCode)
	}
	for _, conn := range conns {
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("still open: %v", err)
		}
	}
}

// A stalled body gets an error response while its client still reads.
func TestASlowBodyGets408(t *testing.T) {
	t.Parallel()
	addr, _ := counted(t, Config{ReadTimeout: 100 * time.Millisecond})
	if response := talk(t, addr, echoHead+"Content-Length: 100\r\n\r\n{\"te"); !strings.HasPrefix(response, "HTTP/1.1 408") || !strings.Contains(response, "body_timeout") {
		t.Errorf("%q", response)
	}
}

// Fault 20: when the client hangs up the handler's context ends.
func TestFault20ClientHangsUp(t *testing.T) {
	t.Parallel()
	began, ended := make(chan struct{}), make(chan error, 1)
	url := serveTest(t, Config{}, func(s *Server) {
		err := s.Handle("GET /wait", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(began)
			<-r.Context().Done()
			ended <- context.Cause(r.Context())
		}), chassi.Public)
		if err != nil {
			t.Fatal(err)
		}
	})
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-began
	conn.Close()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the handler still waits")
	}
}

// A drain finishes what is in flight, says so on kept connections, and closes
// those that are idle.
func TestDrain(t *testing.T) {
	t.Parallel()
	release, began := make(chan struct{}), make(chan struct{})
	s, err := New(Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Handle("GET /wait", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-release
		_, _ = io.WriteString(w, "done")
	}), chassi.Public)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	busy, idle := dialServer(t, s), dialServer(t, s)
	fmt.Fprint(idle, "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
	first := bufio.NewReader(idle)
	response, err := http.ReadResponse(first, nil)
	if err != nil || response.Close {
		t.Fatalf("%v, %+v", err, response)
	}
	_, _ = io.Copy(io.Discard, response.Body)
	fmt.Fprint(busy, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
	<-began

	stopped := make(chan error, 1)
	s.Drain()
	go func() { stopped <- s.Stop(t.Context()) }()
	if _, err := first.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the idle connection: %v, want its end", err)
	}
	if late, err := net.Dial("tcp", s.Addr().String()); err == nil {
		late.Close()
		t.Error("the listener is still open")
	}
	close(release)
	response, err = http.ReadResponse(bufio.NewReader(busy), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	if string(body) != "done" || !response.Close {
		t.Errorf("%q, close %v", body, response.Close)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func dialServer(t *testing.T, s *Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// Fault 4: a call that does not end is given up at the end of the grace period,
// named in the error, and its context ends.
func TestFault04StuckCallIsNamed(t *testing.T) {
	t.Parallel()
	began, ended := make(chan struct{}), make(chan struct{})
	s, err := New(Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Handle("GET /stuck/{id}", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
		close(ended)
	}), chassi.Public)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(dialServer(t, s), "GET /stuck/1 HTTP/1.1\r\nHost: x\r\n\r\n")
	<-began
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Stop(ctx); err == nil || !strings.Contains(err.Error(), "GET /stuck/{id} (1)") {
		t.Errorf("%v, want the route", err)
	}
	<-ended
}

// Each of the sixteen codes comes as problem+json with its status and members.
func TestEveryCodeOnTheWire(t *testing.T) {
	t.Parallel()
	for _, code := range chassi.Codes() {
		refuse := chassi.NewError(code, "some_reason", "Some message").
			WithViolations(chassi.Violation{Field: "a.b[0]", Message: "is wrong"}).WithRetryAfter(1500 * time.Millisecond)
		s := offline(t, Config{}, func(*chassi.Binding, chassi.Handler) chassi.Handler {
			return func(context.Context, *chassi.Call) error { return fmt.Errorf("wrapped: %w", refuse) }
		})
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/things/a", nil))
		var p problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
			t.Fatalf("%v: %s", err, w.Body)
		}
		if w.Code != transport.HTTPStatus(code) || p.Status != w.Code || p.Type != "about:blank" || p.Title == "" || p.Instance == "" || p.Error != "some_reason" ||
			p.Message != "Some message" || p.Detail != p.Message || len(p.Violations) != 1 || w.Header().Get("Retry-After") != "2" {
			t.Errorf("%v: %d %v %s", code, w.Code, w.Header(), w.Body)
		}
		if authenticate := w.Header().Get("WWW-Authenticate"); (authenticate != "") != (w.Code == http.StatusUnauthorized) {
			t.Errorf("%v: WWW-Authenticate %q", code, authenticate)
		}
	}
}

// FuzzExchange: whatever comes in, no 5xx, and every refusal is a problem.
func FuzzExchange(f *testing.F) {
	for _, seed := range []struct{ method, target, media, body string }{
		{"POST", "/echo", "application/json", `{"text":"x","tags":["a"],"n":1}`},
		{"POST", "/echo", "application/json; charset=UTF-8", `{"text":"\ud800"}`},
		{"POST", "/echo", "text/plain", `{`}, {"GET", "/things/a?limit=5&tag=x&wait=2s", "", ""},
		{"GET", "/things/%2e%2e?limit=;", "", ""}, {"OPTIONS", "*", "", ""}, {"TRACE", "//", "", ""},
	} {
		f.Add(seed.method, seed.target, seed.media, seed.body)
	}
	s := offline(f, Config{MaxBodyBytes: 4 << 10})
	f.Fuzz(func(t *testing.T, method, target, media, body string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + target + " HTTP/1.1\r\nHost: x\r\n\r\n")))
		if err != nil {
			return // net/http refuses it before us
		}
		r.Header.Set("Content-Type", media)
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), -1
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		switch {
		case w.Code >= 500:
			t.Errorf("%s %s %q: %d %s", method, target, body, w.Code, w.Body)
		case w.Code >= 400 && method != http.MethodHead:
			var p problem
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Status != w.Code || p.Error == "" {
				t.Errorf("%s %s: %d, %v in %s", method, target, w.Code, err, w.Body)
			}
		}
		if ids := w.Header()["X-Request-Id"]; len(ids) != 1 || slices.Contains(ids, "") {
			t.Errorf("request ids %q", ids)
		}
	})
}
