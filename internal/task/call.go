package task

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"sync"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/strictjson"
	"github.com/chassi-go/chassi/transport"
)

// Bind returns a function that runs a task as a call of the endpoint. The argument over is the
// transport of the call, "event" or "job". The call passes through middleware, the first one
// outermost. The request of the call is decoded from the body of the task, which is JSON; unknown
// members are ignored. Bind returns an error if a middleware cannot serve the endpoint.
func Bind(endpoint *chassi.Endpoint, over string, middleware ...chassi.Middleware) (func(context.Context, *Task) error, error) {
	b := &chassi.Binding{Endpoint: endpoint, Transport: over, Route: endpoint.Name(), Status: transport.CodeStatus}
	handler := b.Handler(append(slices.Clip(middleware), noteDeadline)...)
	return func(ctx context.Context, t *Task) error {
		in, out := t.Headers, transport.Pairs(nil)
		in.Set(transport.IdempotencyKey, t.UID)
		in.Set(transport.AttemptsKey, strconv.Itoa(t.Try))
		call := &chassi.Call{Binding: b, RequestID: transport.RequestID(in.Get(transport.RequestIDKey)), In: &in, Out: &out, Codec: codec(t.Body)}
		return handler(call.Context(ctx), call)
	}, b.Err()
}

// codec is the codec of a call that runs a task. Its value is the body of the task.
type codec []byte

var errMalformed = chassi.NewError(chassi.InvalidArgument, "malformed_body", "The body cannot be decoded")

// Decode decodes the body into request. It ignores unknown fields, and returns a
// [chassi.InvalidArgument] error if the body is malformed.
func (c codec) Decode(request any) error {
	if err := strictjson.DecodeResponse(c, request); err != nil {
		return errMalformed.WithCause(err)
	}
	return nil
}

// Encode does nothing, because the response is empty. It returns nil.
func (codec) Encode(any) error { return nil }

// Sender inserts tasks whose bodies are requests of one endpoint. While engines are attached, it
// calls the middleware for outgoing calls around each insertion, for example to propagate traces,
// and wakes the engines after the commit. A Sender is safe for concurrent use.
type Sender struct {
	binding chassi.Binding

	mu      sync.Mutex
	engines []*Engine
	send    chassi.Handler // insertOnly within the middleware of the first attached engine
}

// insertKey is the context key of the innermost handler of a [Sender].
type insertKey struct{}

// NewSender returns a sender for an endpoint. The argument over is the transport, "event" or "job",
// and route is the Route of the binding that the middleware receives.
func NewSender(endpoint *chassi.Endpoint, over, route string) *Sender {
	return &Sender{binding: chassi.Binding{Endpoint: endpoint, Transport: over, Route: route, Client: true, Status: transport.CodeStatus}, send: insertOnly}
}

func insertOnly(ctx context.Context, call *chassi.Call) error {
	insert, _ := ctx.Value(insertKey{}).(chassi.Handler)
	return insert(ctx, call)
}

// Attach attaches a started engine. The outgoing middleware is used only if no other engine is
// attached.
func (s *Sender) Attach(e *Engine, outgoing []chassi.Middleware) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engines = append(s.engines, e); len(s.engines) == 1 {
		s.send = s.binding.ClientHandler(insertOnly, outgoing...)
	}
}

// Detach detaches an engine. The middleware that was attached with the first engine is used until
// no engine is attached any more.
func (s *Sender) Detach(e *Engine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engines = slices.DeleteFunc(s.engines, func(other *Engine) bool { return other == e })
	if len(s.engines) == 0 {
		s.send = insertOnly
	}
}

// Send calls insert with the headers of a task, which insert stores together with the task in the
// transaction tx. The headers are the request ID and the tenant of the call in ctx, and those that
// the middleware adds. Send returns the error of insert or of the middleware. The attached engines
// are notified after the commit; see [Engine.OnCommit].
func (s *Sender) Send(ctx context.Context, tx Execer, request any, insert func(context.Context, transport.Pairs) error) error {
	var headers, out transport.Pairs
	call := &chassi.Call{Binding: &s.binding, In: &headers, Out: &out, Request: request}
	if outer := chassi.CallFrom(ctx); outer != nil {
		if call.RequestID = outer.RequestID; call.RequestID != "" {
			headers.Set(transport.RequestIDKey, call.RequestID)
		}
		if tenant := tenantOf(outer); tenant != "" {
			headers.Set(transport.TenantKey, tenant)
		}
	}
	s.mu.Lock()
	send, engines := s.send, slices.Clone(s.engines)
	s.mu.Unlock()
	innermost := chassi.Handler(func(ctx context.Context, _ *chassi.Call) error { return insert(ctx, headers) })
	if err := send(context.WithValue(ctx, insertKey{}, innermost), call); err != nil {
		return err
	}
	for _, e := range engines {
		e.OnCommit(tx)
	}
	return nil
}

// tenantOf returns the tenant of a call, as [url.QueryEscape] encodes it: that of the principal or,
// if the call runs a task and has no principal, that of the task. It returns "" for any other call.
func tenantOf(call *chassi.Call) string {
	switch p := call.Principal; {
	case p != nil:
		return url.QueryEscape(p.Tenant)
	case call.Binding != nil && (call.Transport == "event" || call.Transport == "job"):
		return call.In.Get(transport.TenantKey)
	}
	return ""
}
