package chassi

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
)

// Handler handles one call. It returns nil after it has encoded the response with the call's
// codec, or an error, which the transport sends as converted by [ErrorOf].
type Handler func(ctx context.Context, call *Call) error

// Middleware wraps next for one binding. It is called once at registration, and should then
// resolve everything that does not depend on the call. The Handler that it returns is called
// concurrently for every call. That Handler may return nil only if next has returned nil, or
// after [Call.Respond].
type Middleware func(b *Binding, next Handler) Handler

// Binding is an endpoint as one transport serves it.
type Binding struct {
	Endpoint  *Endpoint
	Transport string // "http", "grpc", "nats", "amqp", "local"
	Server    string // which of several servers of a transport: "http", "admin"; otherwise ""
	Client    bool   // whether this is the client's side
	Method    string // the HTTP method: "POST"; "" on other transports
	Route     string // the pattern, never a raw path: "/v1/users/{id}"; "auth.v1.Auth/Me" on other transports

	// Status returns the status for the result of a call: over HTTP the HTTP status; on other
	// transports the [Code], or 0 for success.
	Status func(call *Call, err error) int

	checks []func(request any) error
	err    error
}

// Fail records an error because of which the endpoint cannot be served. Middleware calls it at
// registration; the transport then refuses to mount the endpoint.
func (b *Binding) Fail(err error) { b.err = errors.Join(b.err, err) }

// Err returns the errors recorded by [Binding.Fail] during [Binding.Handler], or nil.
// Transports check it before they serve the binding.
func (b *Binding) Err() error { return b.err }

// Check adds a test of the decoded request, which runs before the method. Middleware calls it
// at registration.
func (b *Binding) Check(test func(request any) error) { b.checks = append(b.checks, test) }

// Handler returns the endpoint wrapped in middleware, the first one outermost. Inside it runs the
// middleware of the service ([Service.Use]), and then the middleware of the endpoint ([With]). The
// endpoint's own policy is innermost, before decoding: without a principal, which a middleware
// sets, only calls of [Public] endpoints are allowed. No middleware may be nil.
//
// If a middleware returns nil without a response, because it called neither next nor
// [Call.Respond] or dropped next's error, the call fails as [Internal].
func (b *Binding) Handler(middleware ...Middleware) Handler {
	b.Endpoint.bound.Store(true)
	own := wrap(b, b.Endpoint.guarded(), b.Endpoint.own)
	return checkResponse("a middleware", wrap(b, wrap(b, own, b.Endpoint.middleware), middleware))
}

// ClientHandler returns call, which performs a remote call, wrapped in middleware, the first one
// outermost. A middleware without a response is treated as in [Binding.Handler].
func (b *Binding) ClientHandler(call Handler, middleware ...Middleware) Handler {
	return checkResponse("a middleware", wrap(b, func(ctx context.Context, c *Call) error {
		err := call(ctx, c)
		c.answered = err == nil
		return err
	}, middleware))
}

func wrap(b *Binding, h Handler, middleware []Middleware) Handler {
	for _, m := range slices.Backward(middleware) {
		if h = m(b, h); !isOwn(m) {
			h = checkResponse("a middleware ("+functionName(m)+")", h)
		}
	}
	return h
}

// isOwn reports whether m is middleware of this module. Such middleware always responds and needs no
// check: the eight checks of a usual stack would take 0.15 us per call. An inlined function has the
// name of its caller, so the source file decides; stack.go returns middleware of others.
func isOwn(m Middleware) bool {
	f := runtime.FuncForPC(reflect.ValueOf(m).Pointer())
	if f == nil {
		return false
	}
	file, _ := f.FileLine(f.Entry())
	file, found := strings.CutPrefix(file, moduleDir)
	return found && file != "middleware/stack.go" && (strings.HasPrefix(file, "middleware/") || strings.HasPrefix(file, "standard/"))
}

// moduleDir is the directory of this module's sources, as the compiler records it.
var moduleDir = func() string {
	_, file, _, _ := runtime.Caller(0)
	return strings.TrimSuffix(file, "middleware.go")
}()

// checkResponse returns a handler that calls h, and returns an error if h returns nil without a
// response. The error names the middleware.
func checkResponse(name string, h Handler) Handler {
	missing := fmt.Errorf("chassi: %s returned nil without a response; it must call next or Call.Respond, or return an error", name)
	return func(ctx context.Context, call *Call) error {
		if err := h(ctx, call); err != nil || call.answered {
			return err
		}
		return missing
	}
}

// functionName returns the name of the function that returned m: "middleware.Logging".
func functionName(m Middleware) string {
	f := runtime.FuncForPC(reflect.ValueOf(m).Pointer())
	if f == nil {
		return "unknown"
	}
	name := f.Name()
	name = name[strings.LastIndexByte(name, '/')+1:]
	name, _, _ = strings.Cut(name, ".func")
	return name
}

// Verify runs the tests of [Binding.Check] on the decoded request and returns the first error. It is
// for middleware that must not act on an invalid request.
func (b *Binding) Verify(request any) error {
	for _, test := range b.checks {
		if err := test(request); err != nil {
			return err
		}
	}
	return nil
}
