package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
)

// A server that has not started has no address, connections or certificate.
func TestBeforeStart(t *testing.T) {
	t.Parallel()
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	open, refused := s.Connections()
	_, ok := s.Certificate()
	if s.Name() != "http" || s.Addr() != nil || open != 0 || refused != 0 || s.RefusedClients() != 0 || ok {
		t.Errorf("%s, %v, %d, %d, %d, %v", s.Name(), s.Addr(), open, refused, s.RefusedClients(), ok)
	}
}

// When serving ends by itself, Failed says why.
func TestFailedSaysWhyServingEnded(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	s, err := New(Config{Name: "admin", Addr: "127.0.0.1:0", Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := "msg=listening server=admin addr=" + s.Addr().String() + " tls=false"; !strings.Contains(log.String(), want) {
		t.Errorf("logged %s, want %s", log.String(), want)
	}
	if _, ok := s.Certificate(); ok {
		t.Error("a certificate without TLS")
	}
	if err := s.listener.Load().Close(); err != nil {
		t.Fatal(err)
	}
	if err, ok := <-s.Failed(); !ok || err == nil {
		t.Errorf("%v, %v", err, ok)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// Serving that was ended by Stop is no failure.
func TestStoppedIsNotFailed(t *testing.T) {
	t.Parallel()
	var s *Server
	serveTest(t, Config{}, func(server *Server) { s = server })
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err, ok := <-s.Failed(); ok {
		t.Error(err)
	}
}

// A response that JSON cannot carry is an internal error.
func TestResponseThatCannotBeEncoded(t *testing.T) {
	t.Parallel()
	type number struct{ N float64 }
	var seen error
	watch := func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error { seen = next(ctx, call); return seen }
	}
	url := serveTest(t, Config{}, func(s *Server) {
		mustMount(t, s, chassi.NewEndpoint("Number", func(context.Context, *struct{}) (*number, error) { return &number{math.NaN()}, nil }, chassi.Route("GET /number"), chassi.Public))
	}, watch)
	if response, body := ask(t, "GET", url+"/number", ""); response.StatusCode != http.StatusInternalServerError || !strings.Contains(body, `"error":"internal"`) || seen == nil || !strings.Contains(seen.Error(), "other.v1.Other/Number") {
		t.Errorf("%d %s, %v", response.StatusCode, body, seen)
	}
}

// Responses of endpoints are compressed if the client wants that and it pays.
func TestResponsesOfEndpointsAreCompressed(t *testing.T) {
	t.Parallel()
	url := serveTest(t, Config{CompressMinBytes: 20}, func(s *Server) {
		mustMount(t, s,
			chassi.NewEndpoint("Sized", func(_ context.Context, r *struct {
				N int `json:"-" query:"n"`
			}) (*echoResponse, error) {
				return &echoResponse{Text: strings.Repeat("x", r.N)}, nil
			}, chassi.Route("GET /sized"), chassi.Public),
			chassi.NewEndpoint("Secret", func(ctx context.Context, _ *struct{}) (*echoResponse, error) {
				chassi.CallFrom(ctx).Out.Set("Content-Encoding", "identity")
				return &echoResponse{Text: strings.Repeat("x", 1000)}, nil
			}, chassi.Route("GET /encoded"), chassi.Public))
	})
	for _, c := range []struct {
		path, accept string
		want         coding
		vary         bool
	}{
		{"/sized?n=1000", "gzip", gzipCoding, true},
		{"/sized?n=1000", "zstd", zstdCoding, true},
		{"/sized?n=1000", "br", identity, true},
		{"/sized?n=9", "gzip", identity, true},  // 20 bytes, which gzip makes longer
		{"/sized?n=8", "gzip", identity, false}, // 19 bytes
		{"/encoded", "gzip", "identity", false},
	} {
		response, body := fetch(t, http.MethodGet, url+c.path, "Accept-Encoding", c.accept)
		if got := coding(response.Header.Get("Content-Encoding")); got != c.want || (response.Header.Get("Vary") == "Accept-Encoding") != c.vary {
			t.Errorf("%s, %s: %q, Vary %q", c.path, c.accept, got, response.Header["Vary"])
			continue
		}
		if c.want == "identity" {
			c.want = identity
		}
		if !strings.HasPrefix(decode(t, c.want, body), `{"text":"xxx`) {
			t.Errorf("%s, %s: %q", c.path, c.accept, body)
		}
	}
}

// A connection is closed for more resets than the limit that are more than half of its calls.
func TestResetsThatCloseAConnection(t *testing.T) {
	t.Parallel()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		answered, resets int
		closed           bool
	}{{0, 2, false}, {0, 3, true}, {3, 3, false}, {2, 3, true}, {3, 4, true}} {
		tcp, _ := accept(t)
		conn := &connection{tcp: tcp}
		for range c.answered {
			conn.ended(t.Context(), 2)
		}
		for range c.resets {
			conn.ended(canceled, 2)
		}
		if err := tcp.tcp.SetDeadline(time.Time{}); errors.Is(err, net.ErrClosed) != c.closed {
			t.Errorf("%d answered, %d reset: %v, want closed %v", c.answered, c.resets, err, c.closed)
		}
	}
}

// The defaults are those that the tags tell a user.
func TestDefaultsAreThoseOfTheTags(t *testing.T) {
	t.Parallel()
	for _, c := range []any{Config{}.withDefaults(), ClientConfig{}.withDefaults(), CORS{}.withDefaults()} {
		for field, value := range reflect.ValueOf(c).Fields() {
			want, ok := field.Tag.Lookup("default")
			if !ok || want == "0" || field.Name == "MaxAge" {
				continue
			}
			got := fmt.Sprint(value.Interface())
			switch list, isList := reflect.TypeAssert[[]string](value); {
			case isList:
				got = strings.Join(list, ",")
			case field.Type == reflect.TypeFor[time.Duration]():
				d, err := time.ParseDuration(want)
				if err != nil {
					t.Fatal(err)
				}
				want = d.String()
			}
			if got != want {
				t.Errorf("%T.%s is %s, the tag says %s", c, field.Name, got, want)
			}
		}
	}
}

// Middleware may set a request's metadata, which the endpoint then reads; a timeout that
// cannot be read is none.
func TestRequestMetadata(t *testing.T) {
	t.Parallel()
	set := func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			call.In.Set("x-tenant", "acme")
			return next(ctx, call)
		}
	}
	url := serveTest(t, Config{}, func(s *Server) {
		mustMount(t, s, chassi.NewEndpoint("Tenant", func(ctx context.Context, r *struct {
			Tenant string `json:"-" header:"X-Tenant"`
		}) (*echoResponse, error) {
			_, bounded := ctx.Deadline()
			return &echoResponse{Text: fmt.Sprint(r.Tenant, " ", bounded)}, nil
		}, chassi.Route("GET /tenant"), chassi.Public))
	}, set)
	for timeout, want := range map[string]string{"60000": `"acme true"`, "nonsense": `"acme false"`, "": `"acme false"`} {
		if _, body := ask(t, "GET", url+"/tenant", "", "X-Request-Timeout-Ms", timeout); !strings.Contains(body, want) {
			t.Errorf("%q: %s, want %s", timeout, body, want)
		}
	}
}
