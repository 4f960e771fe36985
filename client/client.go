// Package client calls services elsewhere, through the client of any transport.
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

// Caller reaches endpoints that are served elsewhere. The client of each
// transport is one, and so is that of package localapi.
type Caller interface {
	// Bind prepares calls of e: it returns the binding that middleware is built for,
	// and what makes a call. The handler sends call.Request with the pairs of
	// call.In, a [*transport.Pairs]; it fills call.Response, a pointer to the endpoint's
	// response type, and call.Out. Failures are [*chassi.Error], those of the other side as
	// it sent them.
	Bind(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error)
}

// Client calls the methods of a service through a [Caller]. It is immutable and
// safe for concurrent use. A type that embeds one implements the service's own
// interface with a line per method:
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
}

// New makes a client of the endpoints of s, whose methods are not used.
// Each call passes through middleware, the first one outermost. It returns an
// error for a service that has one, and for what caller cannot call.
func New(s *chassi.Service, caller Caller, middleware ...chassi.Middleware) (*Client, error) {
	if slices.ContainsFunc(middleware, func(m chassi.Middleware) bool { return m == nil }) {
		return nil, fmt.Errorf("client: the client of %s has a middleware that is nil", s.Name())
	}
	c := &Client{service: s.Name(), methods: make(map[string]method)}
	errs := []error{s.Err()}
	for _, e := range s.Endpoints() {
		b, call, err := caller.Bind(e)
		if err != nil {
			errs = append(errs, fmt.Errorf("client of %s: %w", e.FullName(), err))
			continue
		}
		c.methods[e.Name()] = method{b, wrapped(b, call, middleware)}
	}
	return c, errors.Join(errs...)
}

// Invoke calls the method of that name. Req and Res must be the endpoint's types.
// The request id of the call that ctx belongs to goes along, and so does ctx's
// deadline. It returns either a response or an error, which is an [*chassi.Error] for
// all that went wrong behind the client's middleware.
func Invoke[Res, Req any](ctx context.Context, c *Client, name string, request *Req) (*Res, error) {
	m, ok := c.methods[name]
	if !ok {
		return nil, fmt.Errorf("client: service %s has no method %s", c.service, name)
	}
	e := m.binding.Endpoint
	if e.RequestType() != reflect.TypeFor[Req]() || e.ResponseType() != reflect.TypeFor[Res]() {
		return nil, fmt.Errorf("client: %s takes %v and returns %v, not %v and %v", e.FullName(), e.RequestType(), e.ResponseType(), reflect.TypeFor[Req](), reflect.TypeFor[Res]())
	}
	if request == nil {
		return nil, errNoRequest
	}
	response := new(Res)
	var in, out transport.Pairs
	call := &chassi.Call{Binding: m.binding, In: &in, Out: &out, Request: request, Response: response}
	if outer := chassi.CallFrom(ctx); outer != nil && outer.RequestID != "" {
		call.RequestID = outer.RequestID
		in.Set(transport.RequestIDKey, outer.RequestID)
	}
	if err := m.call(ctx, call); err != nil {
		return nil, err
	}
	return response, nil
}

var errNoRequest = chassi.NewError(chassi.InvalidArgument, "invalid_request", "The request is missing")

func wrapped(b *chassi.Binding, h chassi.Handler, middleware []chassi.Middleware) chassi.Handler {
	for _, m := range slices.Backward(middleware) {
		h = m(b, h)
	}
	return h
}
