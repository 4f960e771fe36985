package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/middleware"
)

// tagged adds a header to the response, and refuses requests with the header Refuse.
func tagged(name string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Add("X-Order", name)
			switch r.Header.Get(name) {
			case "refuse":
				http.Error(w, "refused", http.StatusTeapot)
			case "response":
				fmt.Fprint(w, "answered")
			case "fail":
				WriteError(w, r, chassi.NewError(chassi.Aborted, "failed", "It failed"))
			case "hide":
				next.ServeHTTP(hiding{w}, r)
			default:
				next.ServeHTTP(w, r)
			}
		})
	}
}

// hiding replaces each status.
type hiding struct{ http.ResponseWriter }

func (h hiding) WriteHeader(int)             { h.ResponseWriter.WriteHeader(http.StatusNotFound) }
func (h hiding) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// HTTP middleware surrounds a typed endpoint, a stream, a file and an http.Handler, inside the
// middleware of calls, which see the result.
func TestWrap(t *testing.T) {
	t.Parallel()
	results := make(chan string, 1)
	observe := func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			err := next(ctx, call)
			reason := ""
			if err != nil {
				reason = chassi.ErrorOf(err).Reason
			}
			results <- fmt.Sprint(b.Status(call, err), reason)
			return err
		}
	}
	s, err := New(Config{Addr: "127.0.0.1:0"}, observe, middleware.Recover(), Wrap(tagged("a"), tagged("b")))
	if err != nil {
		t.Fatal(err)
	}
	wrapped := func(option ...chassi.EndpointOption) []chassi.EndpointOption {
		return append(option, chassi.Public, chassi.With(Wrap(tagged("c"))))
	}
	err = s.Mount(chassi.NewService("w.v1.W",
		chassi.NewEndpoint("Typed", func(_ context.Context, r *choice) (*choice, error) {
			switch r.Status {
			case 1:
				return nil, chassi.NewError(chassi.AlreadyExists, "exists", "It exists")
			case 2:
				panic("typed")
			}
			return r, nil
		}, wrapped(chassi.Route("POST /typed"))...),
		chassi.NewStream("Stream", func(context.Context, *struct{}) (iter.Seq2[*choice, error], error) {
			return func(yield func(*choice, error) bool) { yield(&choice{5}, nil) }, nil
		}, wrapped(chassi.Route("GET /stream"))...),
		chassi.NewEndpoint("File", func(_ context.Context, r *wanted) (*found, error) {
			if r.Name == "short" {
				return &found{chassi.File{Reader: struct{ io.Reader }{strings.NewReader(strings.Repeat("file", 10_000))}, Size: 40_001}}, nil
			}
			return &found{chassi.File{Reader: strings.NewReader("file")}}, nil
		}, wrapped(chassi.Route("GET /file/{name}"))...),
		NewEndpoint("Raw", "GET /raw", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "raw")
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
		}), wrapped()...)))
	if err != nil {
		t.Fatal(err)
	}
	base := startServer(t, s)
	for _, c := range []struct {
		path, body, header string // "a: refuse"
		status             int
		want, order        string
		result             string
	}{
		{"/typed", `{"status":3}`, "", 200, `{"status":3}`, "a b c", "200"},
		{"/typed", `{"status":1}`, "", 409, `"error":"exists"`, "a b c", "409exists"},
		{"/typed", `{"status":2}`, "", 500, `"error":"internal"`, "a b c", "500internal"},
		{"/typed", `{`, "", 400, `"error":"malformed_request"`, "a b c", "400malformed_request"},
		{"/typed", `{"status":3}`, "b: refuse", 418, "refused", "a b", "418http_middleware"},
		{"/typed", `{"status":3}`, "c: refuse", 418, "refused", "a b c", "418http_middleware"},
		{"/typed", `{"status":3}`, "c: response", 200, "answered", "a b c", "200"},
		{"/typed", `{"status":3}`, "c: fail", 409, `"error":"failed"`, "a b c", "409failed"},
		{"/typed", `{"status":3}`, "a: hide", 404, `{"status":3}`, "a b c", "404"},
		{"/typed", `{"status":1}`, "c: hide", 404, `"error":"exists"`, "a b c", "404exists"},
		{"/stream", "", "", 200, "{\"item\":{\"status\":5}}\n{\"end\":true}\n", "a b c", "200"},
		{"/file/a", "", "", 200, "file", "a b c", "200"},
		{"/file/a", "", "Range: bytes=1-2", 206, "il", "a b c", "206"},
		{"/file/a", "", "Range: bytes=9-", 416, "range_not_satisfiable", "a b c", "416range_not_satisfiable"},
		{"/file/short", "", "", 200, "cut: file", "a b c", "200internal"},
		{"/raw", "", "", 200, "raw", "a b c", "200"},
		{"/nothing", "", "", 404, "no_such_path", "a b", "404no_such_path"},
	} {
		header, method := http.Header{}, http.MethodGet
		var body io.Reader
		if c.body != "" {
			header["Content-Type"], method, body = jsonType, http.MethodPost, strings.NewReader(c.body)
		}
		if key, value, ok := strings.Cut(c.header, ": "); ok {
			header.Set(key, value)
		}
		got, text := exchangeFile(t, method, base+c.path, header, body)
		if result := <-results; got.StatusCode != c.status || !strings.Contains(text, c.want) || strings.Join(got.Header["X-Order"], " ") != c.order || result != c.result {
			t.Errorf("%s %s %s: %d %q %v, result %s, want %+v", c.path, c.body, c.header, got.StatusCode, text, got.Header["X-Order"], result, c)
		}
	}
}

// Wrap leaves clients alone; a context that is not passed on is an error.
func TestWrapNeedsItsContext(t *testing.T) {
	t.Parallel()
	next := func(context.Context, *chassi.Call) error { return errors.New("next") }
	if err := Wrap(tagged("a"))(&chassi.Binding{Transport: "http", Client: true}, next)(t.Context(), nil); err.Error() != "next" {
		t.Error(err)
	}
	lost := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, r.WithContext(context.Background())) })
	}
	s := newTestServer(t)
	e := chassi.NewEndpoint("Do", func(_ context.Context, r *choice) (*choice, error) { return r, nil }, chassi.Route("POST /x"), chassi.Public, chassi.With(Wrap(lost)))
	if err := s.Mount(chassi.NewService("a.v1.A", e)); err != nil {
		t.Fatal(err)
	}
	got, text := exchangeFile(t, "POST", startServer(t, s)+"/x", http.Header{"Content-Type": jsonType}, strings.NewReader("{}"))
	if got.StatusCode != http.StatusInternalServerError || !strings.Contains(text, "has replaced the context") {
		t.Errorf("%d %s", got.StatusCode, text)
	}
	if !slices.Contains(got.Header["X-Content-Type-Options"], "nosniff") {
		t.Error("no security headers")
	}
}
