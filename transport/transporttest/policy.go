package transporttest

import (
	"context"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
)

// A service is mounted once, under a unique name.
func testMountedTwice(t *testing.T, f *fixture) {
	f.start(t)
	server, ok := f.Server.(chassi.Transport)
	if !ok {
		t.Fatalf("%T is not a chassi.Transport", f.Server)
	}
	method := func(context.Context, *Nothing) (*Nothing, error) { return &Nothing{}, nil }
	for problem, s := range map[string]*chassi.Service{
		"is already mounted": f.mounted,
		"two services":       chassi.NewService(f.mounted.Name(), chassi.NewEndpoint("Other", method, chassi.Route("POST /other"))),
	} {
		err := server.Mount(s)
		if err == nil || !strings.Contains(err.Error(), f.mounted.Name()) || !strings.Contains(err.Error(), problem) {
			t.Errorf("want %q: %v", problem, err)
		}
	}
}

// A middleware that returns nil without calling next is an error of the service: the client
// gets no success without a response. The same holds for the client's middleware.
func testSilentMiddleware(t *testing.T, f *fixture) {
	silent := func(*chassi.Binding, chassi.Handler) chassi.Handler {
		return func(context.Context, *chassi.Call) error { return nil }
	}
	f.start(t, func(o *Options) { o.Middleware = append(o.Middleware, silent) })
	calling, err := client.New(newSuite().endpoints(), f.Caller, silent)
	if err != nil {
		t.Fatal(err)
	}
	for side, c := range map[string]*client.Client{"serving": f.client, "calling": calling} {
		_, err := client.Invoke[Echo](bounded(t), c, "Echo", &Message{Word: "w"})
		if e := chassi.ErrorOf(err); e == nil || e.Code != chassi.Internal {
			t.Errorf("the %s side: %v", side, err)
		}
	}
	if f.service.echoed.Load() != 0 {
		t.Error("the method was called")
	}
	if !strings.Contains(f.log.String(), "returned nil without a response") {
		t.Errorf("the log does not say why: %s", f.log.String())
	}
}

// A middleware may respond instead of the method.
func testAnsweringMiddleware(t *testing.T, f *fixture) {
	responses := func(*chassi.Binding, chassi.Handler) chassi.Handler {
		return func(_ context.Context, call *chassi.Call) error { return call.Respond(&Echo{Word: "kept"}) }
	}
	f.start(t, func(o *Options) { o.Middleware = append(o.Middleware, responses) })
	calling, err := client.New(newSuite().endpoints(), f.Caller, responses)
	if err != nil {
		t.Fatal(err)
	}
	for side, c := range map[string]*client.Client{"serving": f.client, "calling": calling} {
		if got, err := client.Invoke[Echo](bounded(t), c, "Echo", &Message{Word: "w"}); err != nil || got.Word != "kept" {
			t.Errorf("the %s side: %+v, %v", side, got, err)
		}
	}
}

// A request without a body, in JSON, has the zero value in all fields.
func testEmptyBody(t *testing.T, f *fixture) {
	f.start(t)
	for format, send := range f.Send {
		if err := send(bounded(t), f.endpoint("Fail"), nil); chassi.ErrorOf(err) == nil || chassi.ErrorOf(err).Code != chassi.Internal {
			t.Errorf("%s: %v", format, err) // Fail was called, without a code
		}
	}
}
