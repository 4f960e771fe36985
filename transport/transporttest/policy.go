package transporttest

import (
	"context"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
)

// testMountedTwice verifies that a server refuses to mount a service twice, or to mount two
// services with the same name.
func testMountedTwice(t *testing.T, f *fixture) {
	f.start(t)
	server, ok := f.Server.(chassi.Transport)
	if !ok {
		t.Fatalf("got a server of type %T, want a chassi.Transport", f.Server)
	}
	method := func(context.Context, *Nothing) (*Nothing, error) { return &Nothing{}, nil }
	for problem, s := range map[string]*chassi.Service{
		"is already mounted": f.mounted,
		"two services":       chassi.NewService(f.mounted.Name(), chassi.NewEndpoint("Other", method, chassi.Route("POST /other"))),
	} {
		err := server.Mount(s)
		if err == nil || !strings.Contains(err.Error(), f.mounted.Name()) || !strings.Contains(err.Error(), problem) {
			t.Errorf("mounting %s again: got the error %v, want one with the name and %q", f.mounted.Name(), err, problem)
		}
	}
}

// testSilentMiddleware verifies that a call fails with Internal if a middleware of the server or of
// the client returns nil without calling next and without a response.
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
			t.Errorf("middleware on the %s side: got %v, want internal", side, err)
		}
	}
	if f.service.echoed.Load() != 0 {
		t.Errorf("the method ran %d times, want 0", f.service.echoed.Load())
	}
	const cause = "returned nil without a response"
	if !strings.Contains(f.log.String(), cause) {
		t.Errorf("got a log that does not contain the cause %q:\n%s", cause, f.log.String())
	}
}

// testAnsweringMiddleware verifies that a middleware of the server or of the client can respond
// instead of the method.
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
			t.Errorf("middleware on the %s side: got %+v, error %v, want its response with the word \"kept\"", side, got, err)
		}
	}
}

// testEmptyBody verifies that all fields of a request with an empty payload have the zero value.
func testEmptyBody(t *testing.T, f *fixture) {
	f.start(t)
	for format, send := range f.Send {
		if err := send(bounded(t), f.endpoint("Fail"), nil); chassi.ErrorOf(err) == nil || chassi.ErrorOf(err).Code != chassi.Internal {
			t.Errorf("%s payload without content: got %v, want internal", format, err) // Fail was called, without a code
		}
	}
}
