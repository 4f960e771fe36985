package chassi

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"time"
)

// Caller reaches endpoints that are served elsewhere. The client of each
// transport is one, and so is [Local].
type Caller interface {
	// Bind prepares calls of e: it returns the binding that middleware is built for,
	// and what makes a call. The handler sends call.Request with the pairs of
	// call.In, a [*Pairs]; it fills call.Response, a pointer to the endpoint's
	// response type, and call.Out. Failures are [*Error], those of the other side as
	// it sent them.
	Bind(e *Endpoint) (*Binding, Handler, error)
}

// Client calls the methods of a service through a [Caller]. It is immutable and
// safe for concurrent use. A type that embeds one implements the service's own
// interface with a line per method:
//
//	func (c *Client) Greet(ctx context.Context, r *GreetRequest) (*Greeting, error) {
//		return chassi.Invoke[Greeting](ctx, c.Client, "Greet", r)
//	}
type Client struct {
	service string
	methods map[string]method
}

type method struct {
	binding *Binding
	call    Handler
}

// NewClient makes a client of the endpoints of s, whose methods are not used.
// Each call passes through middleware, the first one outermost. It returns an
// error for a service that has one, and for what caller cannot call.
func NewClient(s *Service, caller Caller, middleware ...Middleware) (*Client, error) {
	if hasNil(middleware) {
		return nil, fmt.Errorf("chassi: the client of %s has a middleware that is nil", s.Name())
	}
	c := &Client{service: s.Name(), methods: make(map[string]method)}
	errs := []error{s.Err()}
	for _, e := range s.Endpoints() {
		b, call, err := caller.Bind(e)
		if err != nil {
			errs = append(errs, fmt.Errorf("chassi: client of %s: %w", e.FullName(), err))
			continue
		}
		c.methods[e.Name()] = method{b, wrap(b, call, middleware)}
	}
	return c, errors.Join(errs...)
}

// The names of the pairs that go with every call where the transport has none of
// its own.
const (
	// RequestIDKey names the id that log lines of one request share.
	RequestIDKey = "X-Request-Id"
	// TimeoutKey names the time that the caller still has, in milliseconds.
	TimeoutKey = "X-Request-Timeout-Ms"
)

// Invoke calls the method of that name. Req and Res must be the endpoint's types.
// The request id of the call that ctx belongs to goes along, and so does ctx's
// deadline. It returns either a response or an error, which is an [*Error] for
// all that went wrong behind the client's middleware.
func Invoke[Res, Req any](ctx context.Context, c *Client, name string, request *Req) (*Res, error) {
	m, ok := c.methods[name]
	if !ok {
		return nil, fmt.Errorf("chassi: service %s has no method %s", c.service, name)
	}
	e := m.binding.Endpoint
	if e.request != reflect.TypeFor[Req]() || e.response != reflect.TypeFor[Res]() {
		return nil, fmt.Errorf("chassi: %s takes %v and returns %v, not %v and %v", e.FullName(), e.request, e.response, reflect.TypeFor[Req](), reflect.TypeFor[Res]())
	}
	if request == nil {
		return nil, errNoRequest
	}
	response := new(Res)
	var in, out Pairs
	call := &Call{Binding: m.binding, In: &in, Out: &out, Request: request, Response: response}
	if outer := CallFrom(ctx); outer != nil && outer.RequestID != "" {
		call.RequestID = outer.RequestID
		in.Set(RequestIDKey, outer.RequestID)
	}
	if err := m.call(ctx, call); err != nil {
		return nil, err
	}
	return response, nil
}

var errNoRequest = NewError(InvalidArgument, "invalid_request", "The request is missing")

// CallerTimeout returns the time that the caller of a request with metadata m
// still has, as [TimeoutKey] tells it.
func CallerTimeout(m Metadata) (time.Duration, bool) {
	ms, err := strconv.ParseUint(m.Get(TimeoutKey), 10, 32)
	return time.Duration(ms) * time.Millisecond, err == nil
}

// SetTimeout tells the other side in m how long ctx lasts, if it ends at all.
func SetTimeout(ctx context.Context, m Metadata) {
	if deadline, ok := ctx.Deadline(); ok {
		m.Set(TimeoutKey, strconv.FormatInt(max(time.Until(deadline).Milliseconds(), 0), 10))
	}
}
