package chassi

import (
	"context"
	"slices"
)

// Handler handles one call. It returns nil and leaves the answer in the call's
// codec, or an error that the transport sends as [ErrorOf] sees it.
type Handler func(ctx context.Context, call *Call) error

// Middleware wraps next for one binding. It runs once at registration, where
// everything that does not depend on the call is to be resolved; the Handler it
// returns runs for every call, concurrently.
type Middleware func(b *Binding, next Handler) Handler

// Binding is an endpoint as one transport serves it.
type Binding struct {
	Endpoint  *Endpoint
	Transport string // "http", "grpc", "nats", "amqp", "local"
	Client    bool   // whether this is the calling side
	Method    string // the transport's verb: "POST" over HTTP, "" elsewhere
	Route     string // the pattern, never a raw path: "/v1/users/{id}"; "auth.v1.Auth/Me" elsewhere

	// Status tells what the transport answers for the result of a call: the HTTP
	// status over HTTP, 0 or the [Code] elsewhere.
	Status func(call *Call, err error) int

	checks []func(request any) error
}

// Check adds a test of the decoded request, run before the method. Middleware
// calls it at registration.
func (b *Binding) Check(test func(request any) error) { b.checks = append(b.checks, test) }

// Handler returns the endpoint wrapped in middleware, the first one outermost.
// Service middleware (see [Service.Use]) lies inside it. Innermost, before a byte
// is decoded, stands the endpoint's own policy: a call that no middleware has
// given a principal gets past it only at a [Public] endpoint. No middleware may
// be nil.
func (b *Binding) Handler(middleware ...Middleware) Handler {
	return wrap(b, wrap(b, b.Endpoint.guarded(), b.Endpoint.middleware), middleware)
}

func wrap(b *Binding, h Handler, middleware []Middleware) Handler {
	for _, m := range slices.Backward(middleware) {
		h = m(b, h)
	}
	return h
}

// Verify runs the tests of the decoded request, for middleware that must not act on one
// that is refused.
func (b *Binding) Verify(request any) error {
	for _, test := range b.checks {
		if err := test(request); err != nil {
			return err
		}
	}
	return nil
}
