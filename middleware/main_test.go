package middleware_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"testing"

	"github.com/chassi-go/chassi"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// headers are metadata as a transport has them.
type headers struct{ http.Header }

// body is the message of a call; it counts how often it was asked for.
type body struct {
	decoded int
	fail    error
}

func (b *body) Decode(any) error { b.decoded++; return b.fail }
func (b *body) Encode(any) error { return nil }

// thing is one call of an endpoint that is served as POST /v1/things/{id}.
type thing struct {
	binding *chassi.Binding
	call    *chassi.Call
	body    *body
}

type request struct {
	Secret string `json:"secret"`
}

func newThing(method func(context.Context) error, options ...chassi.EndpointOption) *thing {
	e := chassi.NewEndpoint("Do", func(ctx context.Context, _ *request) (*struct{}, error) {
		return &struct{}{}, method(ctx)
	}, options...)
	b := &chassi.Binding{Endpoint: e, Transport: "http", Method: "POST", Route: "/v1/things/{id}", Status: func(_ *chassi.Call, err error) int {
		if err == nil {
			return http.StatusOK
		}
		return 400 + int(chassi.ErrorOf(err).Code)
	}}
	th := &thing{binding: b, body: &body{}}
	th.call = &chassi.Call{
		Binding: b, Peer: netip.MustParseAddrPort("192.0.2.7:5555"), RequestID: "request-0001",
		In: headers{http.Header{}}, Out: headers{http.Header{}}, Codec: th.body,
	}
	return th
}

// run makes the call through middleware.
func (th *thing) run(ctx context.Context, middleware ...chassi.Middleware) error {
	return th.binding.Handler(middleware...)(th.call.Context(ctx), th.call)
}

func fine(context.Context) error { return nil }

var (
	errRefused = chassi.NewError(chassi.PermissionDenied, "not_yours", "It is not yours")
	errBroken  = errors.New("password=hunter2 was refused by the database")
)

func panics(context.Context) error { panic("a canary in a panic") }

// lines is a logger and what it wrote.
type lines struct{ bytes.Buffer }

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(&l.Buffer, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// one returns the only line.
func (l *lines) one(t *testing.T) map[string]any {
	t.Helper()
	var line map[string]any
	if bytes.Count(l.Bytes(), []byte{'\n'}) != 1 {
		t.Fatalf("want one line:\n%s", l)
	}
	if err := json.Unmarshal(l.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	return line
}
