package httpapi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/chassi-go/chassi"
)

// A panic that no middleware contains is answered and logged; after the response has begun the
// connection is cut.
func TestPanicOutsideOfTheMiddleware(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	begun := func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			err := next(ctx, call)
			switch b.Route {
			case "/begun", "/before":
				panic("canary")
			case "/aborted":
				panic(http.ErrAbortHandler)
			}
			return err
		}
	}
	url := serveTest(t, Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(s *Server) {
		write := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _ = http.NewResponseController(w).Flush() })
		nothing := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
		for pattern, h := range map[string]http.Handler{"GET /begun": write, "GET /before": nothing, "GET /aborted": nothing} {
			if err := s.Handle(pattern, h, chassi.Public); err != nil {
				t.Error(err)
			}
		}
	}, begun)
	if response, body := ask(t, "GET", url+"/before", ""); response.StatusCode != http.StatusInternalServerError || !strings.Contains(body, `"error":"internal"`) || strings.Contains(body, "canary") {
		t.Errorf("%d %s", response.StatusCode, body)
	}
	if n := strings.Count(log.String(), "panic outside of the middleware"); n != 1 {
		t.Errorf("%d panics logged", n)
	}
	for path, logged := range map[string]int{"/begun": 1, "/aborted": 0} {
		before := strings.Count(log.String(), "panic outside of the middleware")
		if err := getCut(t, url+path); err == nil {
			t.Errorf("%s: the response looks whole", path)
		}
		if n := strings.Count(log.String(), "panic outside of the middleware") - before; n != logged {
			t.Errorf("%s: %d panics logged, want %d", path, n, logged)
		}
	}
}

// getCut returns the error that ended a response.
func getCut(t *testing.T, url string) error {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// A mounted handler may abort its response, as net/http has it: the connection is cut, and the
// middleware sees a call that was canceled, not a panic.
func TestAMountedHandlerAborts(t *testing.T) {
	t.Parallel()
	seen := make(chan error, 1)
	watch := func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			err := next(ctx, call)
			seen <- err
			return err
		}
	}
	url := serveTest(t, Config{}, func(s *Server) {
		for pattern, write := range map[string]bool{"GET /silent": false, "GET /half": true} {
			err := s.Handle(pattern, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if write {
					w.WriteHeader(http.StatusOK)
					_ = http.NewResponseController(w).Flush()
				}
				panic(http.ErrAbortHandler)
			}), chassi.Public)
			if err != nil {
				t.Error(err)
			}
		}
	}, watch)
	for _, path := range []string{"/silent", "/half"} {
		err, seen := getCut(t, url+path), <-seen
		if e := chassi.ErrorOf(seen); err == nil || seen == nil || e.Code != chassi.Canceled || e.Reason != "aborted" {
			t.Errorf("%s: client %v, middleware %v", path, err, seen)
		}
	}
}

// Handle takes a pattern without a method, and refuses what cannot be served.
func TestHandlePatterns(t *testing.T) {
	t.Parallel()
	errOdd := errors.New("odd endpoint")
	refuse := func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		if strings.Contains(b.Route, "odd") {
			b.Fail(errOdd)
		}
		return next
	}
	s, err := New(Config{}, refuse)
	if err != nil {
		t.Fatal(err)
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Method) })
	if err := s.Handle("/any", h, chassi.Public); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"GET", "PUT", "PROPFIND"} {
		w := httptest.NewRecorder()
		if s.ServeHTTP(w, httptest.NewRequest(method, "/any", nil)); w.Code != 200 || w.Body.String() != method {
			t.Errorf("%s: %d %s", method, w.Code, w.Body)
		}
	}
	if err := s.Handle("GET /odd", h, chassi.Public); !errors.Is(err, errOdd) {
		t.Error(err)
	}
	odd := chassi.NewEndpoint("Odd", func(context.Context, *nothing) (*nothing, error) { return &nothing{}, nil }, chassi.Route("GET /odd"), chassi.Public)
	if err := s.Mount(chassi.NewService("x.v1.X", odd)); !errors.Is(err, errOdd) {
		t.Error(err)
	}
	if err := s.Handle("GET /x", h, chassi.MaxBody(-1)); err == nil {
		t.Error("an option that is invalid is taken")
	}
	if err := s.Handle("GET /x/{", h, chassi.Public); err == nil || !strings.Contains(err.Error(), `"GET /x/{"`) || strings.Contains(err.Error(), "conflicts") {
		t.Error(err)
	}
	all := func(b *chassi.Binding, next chassi.Handler) chassi.Handler { b.Fail(errOdd); return next }
	if _, err := New(Config{}, all); !errors.Is(err, errOdd) {
		t.Error(err)
	}
}

// WriteError without an error is an internal one, and works outside of a Server.
func TestWriteErrorOutsideOfAServer(t *testing.T) {
	t.Parallel()
	for want, err := range map[int]error{
		500: nil,
		413: &http.MaxBytesError{Limit: 10},
		404: errThing,
	} {
		w := httptest.NewRecorder()
		WriteError(w, httptest.NewRequest(http.MethodGet, "/x", nil), err)
		if w.Code != want || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%v: %d %v", err, w.Code, w.Header())
		}
		if want == 413 && !strings.Contains(w.Body.String(), "larger than 10 bytes") {
			t.Error(w.Body)
		}
	}
	long := errThing.WithCause(nil)
	long.Message = strings.Repeat("to be compressed, ", 200)
	r := httptest.NewRequest(http.MethodGet, "/x", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	w := httptest.NewRecorder()
	if WriteError(w, r, long); w.Header().Get("Content-Encoding") != "gzip" || !strings.Contains(decode(t, gzipCoding, w.Body.Bytes()), long.Message[:100]) {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

// The exchange is a response writer by itself, which records the status that was sent.
func TestExchangeIsAResponseWriter(t *testing.T) {
	t.Parallel()
	for name, response := range map[string]func(*exchange){
		"write": func(x *exchange) { _, _ = x.Write([]byte("x")) },
		"flush": func(x *exchange) { x.Flush() },
		"teapot": func(x *exchange) {
			x.WriteHeader(http.StatusTeapot)
			x.Flush()
			_, _ = x.Write(nil)
			x.WriteHeader(http.StatusOK)
		},
	} {
		want := http.StatusOK
		if name == "teapot" {
			want = http.StatusTeapot
		}
		w := httptest.NewRecorder()
		x := &exchange{server: &Server{}, w: w}
		if response(x); int(x.status) != want || w.Code != want || (name != "write" && !w.Flushed) {
			t.Errorf("%s: status %d, sent %d", name, x.status, w.Code)
		}
	}
	x := &exchange{server: &Server{}, w: httptest.NewRecorder()}
	if x.WriteHeader(http.StatusEarlyHints); x.status != 0 {
		t.Errorf("an informational header is taken for the response: %d", x.status)
	}
}

// What is left of a request's body when the error goes out decides whether the connection can
// be kept.
func TestLeaveBody(t *testing.T) {
	t.Parallel()
	body := func(n int) io.ReadCloser { return io.NopCloser(strings.NewReader(strings.Repeat("x", n))) }
	broken := io.NopCloser(io.MultiReader(strings.NewReader("x"), iotest.ErrReader(errors.New("reset"))))
	for name, c := range map[string]struct {
		r      http.Request
		read   bool
		closes bool
	}{
		"none":              {r: http.Request{ProtoMajor: 1}},
		"none of a client":  {r: http.Request{ProtoMajor: 1, Body: http.NoBody}},
		"was read":          {r: http.Request{ProtoMajor: 1, Body: body(1), ContentLength: drainBytes + 1}, read: true},
		"HTTP/2":            {r: http.Request{ProtoMajor: 2, Body: body(1), ContentLength: drainBytes + 1}},
		"short":             {r: http.Request{ProtoMajor: 1, Body: body(10), ContentLength: 10}},
		"empty":             {r: http.Request{ProtoMajor: 1, Body: body(0)}},
		"ends early":        {r: http.Request{ProtoMajor: 1, Body: body(5), ContentLength: 10}},
		"longest":           {r: http.Request{ProtoMajor: 1, Body: body(drainBytes), ContentLength: drainBytes}},
		"longer":            {r: http.Request{ProtoMajor: 1, Body: body(drainBytes + 1), ContentLength: drainBytes + 1}, closes: true},
		"of unknown length": {r: http.Request{ProtoMajor: 1, Body: body(10), ContentLength: -1}, closes: true},
		"does not arrive":   {r: http.Request{ProtoMajor: 1, Body: broken, ContentLength: 10}, closes: true},
	} {
		w := httptest.NewRecorder()
		x := &exchange{w: w, r: &c.r, read: c.read}
		if x.leaveBody(); (w.Header().Get("Connection") == "close") != c.closes {
			t.Errorf("%s: %v", name, w.Header())
		}
	}
}

// A mounted handler sees that a request has no body.
func TestAMountedHandlerSeesThatThereIsNoBody(t *testing.T) {
	t.Parallel()
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	var body io.ReadCloser
	if err := s.Handle("/x", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { body = r.Body }), chassi.Public); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]io.ReadCloser{"nil": nil, "none": http.NoBody} {
		r := httptest.NewRequest(http.MethodGet, "/x", nil)
		r.Body = want
		if s.ServeHTTP(httptest.NewRecorder(), r); body != want {
			t.Errorf("%s: %v", name, body)
		}
	}
}
