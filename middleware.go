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

// Handler handles one call. It returns nil if the call succeeded and, on a server, the response is
// encoded, or an error, which the transport of a server sends as converted by [ErrorOf].
type Handler func(ctx context.Context, call *Call) error

// Middleware returns a Handler that wraps next, for one binding. It is called once at
// registration, and should then resolve everything that does not depend on the call. The
// Handler is called for every call, concurrently. It may return nil only after next has
// returned nil or [Call.Respond] has succeeded.
type Middleware func(b *Binding, next Handler) Handler

// Binding is an endpoint as one transport serves it, or as a client calls it over one transport.
type Binding struct {
	Endpoint  *Endpoint
	Transport string // "http", "grpc", "nats", "amqp", "local", "event", "job"
	Server    string // name of the server, if a transport has several: "http", "admin"; otherwise ""
	Client    bool   // whether this is the client's side
	Method    string // the HTTP method: "POST"; "" on other transports
	Route     string // over HTTP the pattern of the path: "/v1/users/{id}"; else "auth.v1.Auth/Me"

	// Status returns the status for the result of a call: on an HTTP server the HTTP status; for
	// clients and on other transports the [Code], or 0 for success.
	Status func(call *Call, err error) int

	checks []func(request any) error
	err    error
}

// Fail records err as a reason why the endpoint cannot be served or called. Middleware calls it at
// registration; the transport then refuses to mount the endpoint, or client.New returns the error.
func (b *Binding) Fail(err error) { b.err = errors.Join(b.err, err) }

// Err returns the errors that [Binding.Fail] has recorded, or nil. Transports check it before they
// serve the binding.
func (b *Binding) Err() error { return b.err }

// Check adds a test that runs on each decoded request before the method is called; its
// error ends the call. Middleware calls Check at registration.
func (b *Binding) Check(test func(request any) error) { b.checks = append(b.checks, test) }

// Handler returns the handler of the endpoint wrapped in middleware, the first one outermost. The
// middleware of the service ([Service.Use]) runs inside it, and that of the endpoint ([With]) inside
// both. The endpoint's policy is checked innermost, before decoding: unless the endpoint is [Public],
// a middleware must have set a principal with the endpoint's permissions. No middleware may be nil.
//
// If a middleware returns nil without a response, because it called neither next nor
// [Call.Respond] or dropped next's error, the call fails as [Internal].
func (b *Binding) Handler(middleware ...Middleware) Handler {
	b.Endpoint.bound.Store(true)
	own := wrap(b, b.Endpoint.guarded(), b.Endpoint.own)
	return checkResponse("a middleware", wrap(b, wrap(b, own, b.Endpoint.middleware), middleware))
}

// ClientHandler returns call, which performs a remote call, wrapped in middleware, the
// first one outermost. If a middleware returns nil without a response, the call fails.
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

// isOwn reports whether m is from the directories middleware and standard of this module. Such
// middleware responds or fails and needs no check: eight checks would take 0.15 us per call.
// Because an inlined function has the name of its caller, isOwn compares source files.
// Middleware from stack.go does not count: it may be from elsewhere.
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

// checkResponse returns a handler that calls h and fails if h returns nil without a
// response. The argument name describes the middleware in the error.
func checkResponse(name string, h Handler) Handler {
	missing := fmt.Errorf("chassi: %s returned nil without a response; it must call next or Call.Respond, or return an error", name)
	return func(ctx context.Context, call *Call) error {
		if err := h(ctx, call); err != nil || call.answered {
			return err
		}
		return missing
	}
}

// functionName returns the name of the function that returned m, such as "middleware.Logging".
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

// Verify runs the tests of [Binding.Check] on the decoded request and returns the first
// error. It is for middleware that must not act on an invalid request.
func (b *Binding) Verify(request any) error {
	for _, test := range b.checks {
		if err := test(request); err != nil {
			return err
		}
	}
	return nil
}
