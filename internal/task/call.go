package task

import (
	"context"
	"net/url"
	"strconv"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/strictjson"
	"github.com/chassi-go/chassi/transport"
)

// Bind returns the function that makes each task a call of the endpoint over the transport "event"
// or "job", whose request is the body in JSON. Fields that the request does not have are ignored.
func Bind(endpoint *chassi.Endpoint, over string, middleware ...chassi.Middleware) (func(context.Context, *Task) error, error) {
	b := &chassi.Binding{Endpoint: endpoint, Transport: over, Route: endpoint.Name(), Status: transport.CodeStatus}
	handler := b.Handler(middleware...)
	return func(ctx context.Context, t *Task) error {
		in, out := t.Headers, transport.Pairs(nil)
		in.Set(transport.IdempotencyKey, t.UID)
		in.Set(transport.AttemptsKey, strconv.Itoa(t.Try))
		call := &chassi.Call{Binding: b, RequestID: transport.RequestID(in.Get(transport.RequestIDKey)), In: &in, Out: &out, Codec: codec(t.Body)}
		return handler(call.Context(ctx), call)
	}, b.Err()
}

// codec decodes the body of a task.
type codec []byte

var errMalformed = chassi.NewError(chassi.InvalidArgument, "malformed_body", "The body cannot be decoded")

// Decode ignores fields that are unknown to this version of the program.
func (c codec) Decode(request any) error {
	if err := strictjson.DecodeResponse(c, request); err != nil {
		return errMalformed.WithCause(err)
	}
	return nil
}

// Encode discards the empty response.
func (codec) Encode(any) error { return nil }

// Sender passes insertions of tasks through the middleware for outgoing calls, which propagates
// traces. A nil Sender has no middleware.
type Sender struct {
	binding *chassi.Binding
	send    chassi.Handler
}

// insertKey is the key of the context with the innermost handler of a [Sender].
type insertKey struct{}

// NewSender returns a sender for the argument of an endpoint over the transport "event" or "job".
func NewSender(endpoint *chassi.Endpoint, over, route string, outgoing ...chassi.Middleware) *Sender {
	b := &chassi.Binding{Endpoint: endpoint, Transport: over, Route: route, Client: true, Status: transport.CodeStatus}
	return &Sender{b, b.ClientHandler(func(ctx context.Context, call *chassi.Call) error {
		insert, _ := ctx.Value(insertKey{}).(chassi.Handler)
		return insert(ctx, call)
	}, outgoing...)}
}

// Send calls insert with the headers of a task: the request id and the tenant of the call in ctx,
// and what the middleware adds.
func (s *Sender) Send(ctx context.Context, request any, insert func(context.Context, transport.Pairs) error) error {
	var headers, out transport.Pairs
	call := &chassi.Call{In: &headers, Out: &out, Request: request}
	if outer := chassi.CallFrom(ctx); outer != nil {
		if call.RequestID = outer.RequestID; call.RequestID != "" {
			headers.Set(transport.RequestIDKey, call.RequestID)
		}
		if tenant := tenantOf(outer); tenant != "" {
			headers.Set(transport.TenantKey, tenant)
		}
	}
	innermost := chassi.Handler(func(ctx context.Context, _ *chassi.Call) error { return insert(ctx, headers) })
	if s == nil {
		return innermost(ctx, call)
	}
	call.Binding = s.binding
	return s.send(context.WithValue(ctx, insertKey{}, innermost), call)
}

// tenantOf returns the tenant of a call, which may be that of a task, as it is sent.
func tenantOf(call *chassi.Call) string {
	switch p := call.Principal; {
	case p != nil:
		return url.QueryEscape(p.Tenant)
	case call.Binding != nil && (call.Transport == "event" || call.Transport == "job"):
		return call.In.Get(transport.TenantKey)
	}
	return ""
}
