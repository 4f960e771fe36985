// Package client calls remote services through the client of any transport.
package client

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
)

// Caller calls remote endpoints. The client of each transport implements it, and so does the server
// of package localapi, for calls in the same process.
type Caller interface {
	// Bind prepares calls of e. It returns the binding for the middleware and a handler that
	// makes a call. If e cannot be called, it returns an error, which wraps
	// [transport.ErrNotServed] if [chassi.Transports] limits e to other transports. The
	// handler sends call.Request with the metadata of call.In, a [*transport.Pairs], and
	// decodes the response into call.Response, a pointer to the endpoint's response type, and
	// its metadata into call.Out. The errors of the handler are of type [*chassi.Error]. If
	// the server responded with an error, the handler returns that error.
	Bind(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error)
}

// Client calls the methods of a service through a [Caller]. It is immutable and safe for
// concurrent use. A type that embeds a *Client can implement the interface of the service
// with one line per method:
//
//	func (c *Client) Greet(ctx context.Context, r *GreetRequest) (*Greeting, error) {
//		return client.Invoke[Greeting](ctx, c.Client, "Greet", r)
//	}
type Client struct {
	service string
	methods map[string]method
}

type method struct {
	binding *chassi.Binding
	call    chassi.Handler
	refusal error // error of each call; nil if the method can be called
}

// New returns a client of the endpoints of s. It never calls the methods of s directly.
// Each call passes through middleware, the first one outermost. New returns an error if
// s has a configuration error, if a middleware is nil or reports an error, or if caller
// cannot call an endpoint. New accepts a raw endpoint ([chassi.RawEndpoint]) and an endpoint
// that [chassi.Transports] excludes from the caller's transport, but each call of such an
// endpoint returns an error.
func New(s *chassi.Service, caller Caller, middleware ...chassi.Middleware) (*Client, error) {
	if slices.ContainsFunc(middleware, func(m chassi.Middleware) bool { return m == nil }) {
		return nil, fmt.Errorf("client: the client of %s has a nil middleware", s.Name())
	}
	c := &Client{service: s.Name(), methods: make(map[string]method)}
	errs := []error{s.Err()}
	for _, e := range s.Endpoints() {
		if e.RequestType() == nil {
			c.methods[e.Name()] = method{refusal: fmt.Errorf("client: %s is a raw endpoint without typed messages: call it with an HTTP client", e.FullName())}
			continue
		}
		b, call, err := bind(caller, e)
		if errors.Is(err, transport.ErrNotServed) {
			c.methods[e.Name()] = method{refusal: fmt.Errorf("client: %w", err)}
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("client of %s: %w", e.FullName(), err))
			continue
		}
		c.methods[e.Name()] = method{binding: b, call: b.ClientHandler(call, middleware...)}
		if err := b.Err(); err != nil {
			errs = append(errs, fmt.Errorf("client of %s: %w", e.FullName(), err))
		}
	}
	return c, errors.Join(errs...)
}

// Invoke calls the named method with request and returns the response. Req and Res must be the
// request and response types of the endpoint. The request ID of the call in ctx and the deadline
// of ctx are sent. Errors are of type [*chassi.Error], unless middleware of the client returned
// another error, or the method does not exist, has other types or cannot be called by Invoke.
func Invoke[Res, Req any](ctx context.Context, c *Client, name string, request *Req) (*Res, error) {
	m, ok := c.methods[name]
	if !ok {
		return nil, fmt.Errorf("client: service %s has no method %s", c.service, name)
	}
	if m.refusal != nil {
		return nil, m.refusal
	}
	e := m.binding.Endpoint
	if e.Streams() {
		return nil, fmt.Errorf("client: %s is a stream: call Stream", e.FullName())
	}
	if e.RequestType() != reflect.TypeFor[Req]() || e.ResponseType() != reflect.TypeFor[Res]() {
		return nil, fmt.Errorf("client: %s accepts %v and returns %v, not %v and %v", e.FullName(), e.RequestType(), e.ResponseType(), reflect.TypeFor[Req](), reflect.TypeFor[Res]())
	}
	if request == nil {
		return nil, errNoRequest
	}
	if sent, _ := e.Files(); sent {
		defer transport.CloseFile(request)
	}
	response := new(Res)
	if err := m.call(ctx, newCall(ctx, m.binding, request, response)); err != nil {
		return nil, err
	}
	return response, nil
}

// newCall returns a call of the endpoint of b, with the request ID of the call in ctx,
// if there is one.
func newCall(ctx context.Context, b *chassi.Binding, request, response any) *chassi.Call {
	pairs := new(struct{ in, out transport.Pairs })
	call := &chassi.Call{Binding: b, In: &pairs.in, Out: &pairs.out, Request: request, Response: response}
	if outer := chassi.CallFrom(ctx); outer != nil && outer.RequestID != "" {
		call.RequestID = outer.RequestID
		pairs.in.Set(transport.RequestIDKey, outer.RequestID)
	}
	return call
}

var errNoRequest = chassi.NewError(chassi.InvalidArgument, "invalid_request", "The request is missing")
