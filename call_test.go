package chassi_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
)

// note appends name to trace whenever a call passes.
func note(trace *[]string, name string) chassi.Middleware {
	return func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			*trace = append(*trace, name)
			return next(ctx, call)
		}
	}
}

// as gives each call a principal.
func as(p *chassi.Principal) chassi.Middleware {
	return func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			call.Principal = p
			return next(ctx, call)
		}
	}
}

func TestMiddlewareOrder(t *testing.T) {
	t.Parallel()
	var trace []string
	e := chassi.NewEndpoint("Greet", func(ctx context.Context, r *request) (*response, error) {
		trace = append(trace, "method")
		return greet(ctx, r)
	}, chassi.Public)
	s := chassi.NewService("greet.v1.Greeter", e).Use(note(&trace, "service 1"), note(&trace, "service 2")).Use(note(&trace, "service 3"))
	call := localOf(t, s, note(&trace, "transport 1"), note(&trace, "transport 2"))
	if _, err := call(t.Context(), &request{}); err != nil {
		t.Fatal(err)
	}
	want := []string{"transport 1", "transport 2", "service 1", "service 2", "service 3", "method"}
	if !slices.Equal(trace, want) {
		t.Errorf("passed %q, want %q", trace, want)
	}
}

// spyCodec notes what becomes of the message.
type spyCodec struct {
	trace  *[]string
	decode func() error
}

func (c spyCodec) Decode(any) error {
	*c.trace = append(*c.trace, "decode")
	if c.decode != nil {
		return c.decode()
	}
	return nil
}

func (c spyCodec) Encode(any) error {
	*c.trace = append(*c.trace, "encode")
	return nil
}

// bound is a bound endpoint whose every step leaves its name in trace.
type bound struct {
	trace   []string
	binding chassi.Binding
	method  func(context.Context, *request) (*response, error)
}

func bind(options ...chassi.EndpointOption) *bound {
	b := &bound{method: greet}
	e := chassi.NewEndpoint("Greet", func(ctx context.Context, r *request) (*response, error) {
		b.trace = append(b.trace, "method")
		return b.method(ctx, r)
	}, options...)
	b.binding = chassi.Binding{Endpoint: e, Transport: "test", Route: e.FullName()}
	return b
}

func (b *bound) check(err error) {
	b.binding.Check(func(request any) error {
		if request == nil {
			return errors.New("checked before it was decoded")
		}
		b.trace = append(b.trace, "check")
		return err
	})
}

func (b *bound) call(ctx context.Context, codec spyCodec, middleware ...chassi.Middleware) (*chassi.Call, error) {
	codec.trace = &b.trace
	call := &chassi.Call{Binding: &b.binding, Codec: codec}
	return call, b.binding.Handler(middleware...)(call.Context(ctx), call)
}

func (b *bound) wantTrace(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(b.trace, want) {
		t.Errorf("the call went through %q, want %q", b.trace, want)
	}
}

func TestCallGoesDecodeCheckMethodEncode(t *testing.T) {
	t.Parallel()
	b := bind(chassi.Public)
	b.check(nil)
	b.check(nil)
	call, err := b.call(t.Context(), spyCodec{})
	if err != nil {
		t.Fatal(err)
	}
	b.wantTrace(t, "decode", "check", "check", "method", "encode")
	if _, ok := call.Request.(*request); !ok {
		t.Errorf("call.Request is a %T", call.Request)
	}
	if _, ok := call.Response.(*response); !ok {
		t.Errorf("call.Response is a %T", call.Response)
	}
}

func TestCallStopsAtTheFirstError(t *testing.T) {
	t.Parallel()
	decode := func() error { return errGone }
	b := bind(chassi.Public)
	if _, err := b.call(t.Context(), spyCodec{decode: decode}); !errors.Is(err, errGone) {
		t.Errorf("call with a malformed message: %v", err)
	}
	b.wantTrace(t, "decode")

	b = bind(chassi.Public)
	b.check(errGone)
	b.check(nil)
	if _, err := b.call(t.Context(), spyCodec{}); !errors.Is(err, errGone) {
		t.Errorf("call that fails its check: %v", err)
	}
	b.wantTrace(t, "decode", "check")

	b = bind(chassi.Public)
	b.method = func(context.Context, *request) (*response, error) { return &response{}, errGone }
	if _, err := b.call(t.Context(), spyCodec{}); !errors.Is(err, errGone) {
		t.Errorf("call whose method fails: %v", err)
	}
	b.wantTrace(t, "decode", "method")
}

func TestRefusedCallNeverDecodes(t *testing.T) {
	t.Parallel()
	some := &chassi.Principal{Subject: "1", Permissions: []string{"read"}}
	refuse := func(*chassi.Binding, chassi.Handler) chassi.Handler {
		return func(context.Context, *chassi.Call) error { return errGone }
	}
	cases := map[string]struct {
		policy     chassi.EndpointOption
		middleware chassi.Middleware
		want       chassi.Code
	}{
		"by middleware":              {chassi.Public, refuse, chassi.NotFound},
		"without principal":          {chassi.Authenticated, as(nil), chassi.Unauthenticated},
		"without permission":         {chassi.Requires("write"), as(some), chassi.PermissionDenied},
		"with one permission of two": {chassi.Requires("read", "write"), as(some), chassi.PermissionDenied},
	}
	for name, c := range cases {
		b := bind(c.policy)
		if _, err := b.call(t.Context(), spyCodec{}, c.middleware); chassi.ErrorOf(err).Code != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		b.wantTrace(t)
	}
}

func TestPolicyDefaultsToAuthenticated(t *testing.T) {
	t.Parallel()
	b := bind()
	if _, err := b.call(t.Context(), spyCodec{}); chassi.ErrorOf(err).Code != chassi.Unauthenticated {
		t.Errorf("call of nobody: %v", err)
	}
	if _, err := b.call(t.Context(), spyCodec{}, as(&chassi.Principal{Subject: "1"})); err != nil {
		t.Errorf("call of somebody: %v", err)
	}
}

func TestPermissionsLetIn(t *testing.T) {
	t.Parallel()
	b := bind(chassi.Requires("read", "write"))
	if _, err := b.call(t.Context(), spyCodec{}, as(&chassi.Principal{Permissions: []string{"write", "x", "read"}})); err != nil {
		t.Error(err)
	}
}

func TestNilPrincipalHoldsNothing(t *testing.T) {
	t.Parallel()
	var nobody *chassi.Principal
	if nobody.Has("read") || !nobody.Has() {
		t.Error("a nil principal holds a permission, or lacks no permission")
	}
}

func TestNilResponseIsInternal(t *testing.T) {
	t.Parallel()
	b := bind(chassi.Public)
	b.method = func(context.Context, *request) (*response, error) { return nil, nil }
	if _, err := b.call(t.Context(), spyCodec{}); chassi.ErrorOf(err).Code != chassi.Internal {
		t.Errorf("call = %v, want internal", err)
	}
	b.wantTrace(t, "decode", "method")
}

func TestExpiredDeadlineSkipsTheMethod(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	b := bind(chassi.Public)
	if _, err := b.call(ctx, spyCodec{}); chassi.ErrorOf(err).Code != chassi.DeadlineExceeded {
		t.Errorf("call = %v, want deadline_exceeded", err)
	}
	b.wantTrace(t, "decode")
}

func TestMiddlewareIsBuiltOncePerBinding(t *testing.T) {
	t.Parallel()
	var built []string
	m := func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		built = append(built, b.Transport+" "+b.Route+" "+b.Endpoint.Name())
		return next
	}
	e := chassi.NewEndpoint("Greet", greet, chassi.Public)
	call := localOf(t, chassi.NewService("greet.v1.Greeter", e), m)
	for range 3 {
		if _, err := call(t.Context(), &request{}); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"local greet.v1.Greeter/Greet Greet"}; !slices.Equal(built, want) {
		t.Errorf("built %q, want %q", built, want)
	}
}

func TestContextKnowsItsCall(t *testing.T) {
	t.Parallel()
	if chassi.CallFrom(t.Context()) != nil || chassi.PrincipalFrom(t.Context()) != nil {
		t.Error("a context outside of a call knows one")
	}
	who := &chassi.Principal{Subject: "7"}
	call := &chassi.Call{Principal: who, RequestID: "r1"}
	ctx, cancel := context.WithTimeout(call.Context(t.Context()), time.Hour)
	defer cancel()
	if chassi.CallFrom(ctx) != call || chassi.PrincipalFrom(ctx) != who {
		t.Error("a derived context forgot its call")
	}
	inner := &chassi.Call{RequestID: "r2"}
	if got := chassi.CallFrom(inner.Context(ctx)); got != inner {
		t.Errorf("inside of a nested call CallFrom is %v", got.RequestID)
	}
	cancel()
	if inner := inner.Context(ctx); inner.Err() == nil {
		t.Error("the call's context hides its parent's end")
	}
}

// nopCodec costs nothing, so that what is counted is ours.
type nopCodec struct{}

func (nopCodec) Decode(any) error { return nil }
func (nopCodec) Encode(any) error { return nil }

func TestCallContextAllocatesNothing(t *testing.T) {
	call := &chassi.Call{Principal: &chassi.Principal{}}
	parent := t.Context()
	got := testing.AllocsPerRun(100, func() {
		if ctx := call.Context(parent); chassi.CallFrom(ctx) != call || chassi.PrincipalFrom(ctx) == nil {
			panic("lost")
		}
	})
	if got != 0 {
		t.Errorf("Context, CallFrom and PrincipalFrom allocate %v times", got)
	}
}

// The one allocation of a call is the request struct; the response is the method's.
func TestHandlerAllocatesTheRequestAlone(t *testing.T) {
	reply := &response{}
	e := chassi.NewEndpoint("Greet", func(context.Context, *request) (*response, error) { return reply, nil }, chassi.Requires("greet"))
	b := &chassi.Binding{Endpoint: e}
	b.Check(func(any) error { return nil })
	pass := func(_ *chassi.Binding, next chassi.Handler) chassi.Handler { return next }
	handler := b.Handler(pass, pass)
	who, parent := &chassi.Principal{Permissions: []string{"greet"}}, t.Context()
	call := &chassi.Call{Binding: b, Codec: nopCodec{}, Principal: who}
	got := testing.AllocsPerRun(100, func() {
		if err := handler(call.Context(parent), call); err != nil {
			panic(err)
		}
	})
	if got > 1 {
		t.Errorf("a call allocates %v times, want 1: the request", got)
	}
}

func BenchmarkHandler(b *testing.B) {
	reply := &response{}
	e := chassi.NewEndpoint("Greet", func(context.Context, *request) (*response, error) { return reply, nil }, chassi.Public)
	binding := &chassi.Binding{Endpoint: e}
	handler, parent := binding.Handler(), b.Context()
	b.ReportAllocs()
	for b.Loop() {
		call := &chassi.Call{Binding: binding, Codec: nopCodec{}}
		if err := handler(call.Context(parent), call); err != nil {
			b.Fatal(err)
		}
	}
}

func TestSourceOfACall(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ addr, name, want string }{
		{"", "", ""},
		{"", "nats:", "nats:"},
		{"", "nats:alice", "nats:alice"},
		{"192.0.2.1:80", "", "192.0.2.1"},
		{"192.0.2.1:80", "nats:gateway", "192.0.2.1"},
		{"[::ffff:192.0.2.1]:80", "", "192.0.2.1"},
		{"[2001:db8:1:2:3:4:5:6]:80", "", "2001:db8:1:2::/64"},
		{"[fe80::1%eth0]:80", "", "fe80::/64"},
	} {
		call := chassi.Call{PeerName: c.name}
		if c.addr != "" {
			call.Peer = netip.MustParseAddrPort(c.addr)
		}
		if got := call.Source(); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.addr, c.name, got, c.want)
		}
	}
}

// A middleware that succeeds without a response is a fault, whichever way it does so, and
// middleware outside of it sees the fault.
func TestMiddlewareMustRespond(t *testing.T) {
	t.Parallel()
	silent := func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(context.Context, *chassi.Call) error { return nil }
	}
	swallows := func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error { _ = next(ctx, call); return nil }
	}
	responses := func(_ *chassi.Binding, _ chassi.Handler) chassi.Handler {
		return func(_ context.Context, call *chassi.Call) error { return call.Respond(&response{}) }
	}
	wrong := func(_ *chassi.Binding, _ chassi.Handler) chassi.Handler {
		return func(_ context.Context, call *chassi.Call) error { return call.Respond(&request{}) }
	}
	for name, c := range map[string]struct {
		middleware chassi.Middleware
		policy     chassi.EndpointOption
		want       string
	}{
		"returns nil at once":            {silent, chassi.Public, "chassi_test.TestMiddlewareMustRespond"},
		"drops an error":                 {swallows, chassi.Authenticated, "returned nil without a response"},
		"answers by itself":              {responses, chassi.Public, ""},
		"responds with another type":     {wrong, chassi.Public, "want *chassi_test.response"},
		"lets the method answer, public": {swallows, chassi.Public, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen error
			outer := func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
				return func(ctx context.Context, call *chassi.Call) error { seen = next(ctx, call); return seen }
			}
			_, err := bind(c.policy).call(t.Context(), spyCodec{}, outer, c.middleware)
			if c.want == "" {
				if err != nil || seen != nil {
					t.Errorf("%v, %v", err, seen)
				}
				return
			}
			wantText(t, err, c.want)
			if seen == nil || chassi.ErrorOf(err).Code != chassi.Internal {
				t.Errorf("the outer middleware saw %v", seen)
			}
		})
	}
}
