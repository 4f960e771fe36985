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

// Bind returns a function that runs a task as a call of the endpoint over the transport "event" or
// "job". The request of the call is the body of the task, in JSON; members that the request type
// does not have are ignored. Bind returns an error if a middleware cannot serve the endpoint.
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

// codec decodes the body of a task.
type codec []byte

var errMalformed = chassi.NewError(chassi.InvalidArgument, "malformed_body", "The body cannot be decoded")

// Decode decodes the body into request. It ignores fields that are unknown to this version of the
// program.
func (c codec) Decode(request any) error {
	if err := strictjson.DecodeResponse(c, request); err != nil {
		return errMalformed.WithCause(err)
	}
	return nil
}

// Encode discards the empty response.
func (codec) Encode(any) error { return nil }

// Sender inserts tasks whose bodies are requests of one endpoint. While engines are attached it
// passes the insertions through the middleware for outgoing calls, which propagates traces, and
// wakes the engines. It is safe for concurrent use.
type Sender struct {
	binding chassi.Binding

	mu      sync.Mutex
	engines []*Engine
	send    chassi.Handler // through the middleware of the first engine
}

// insertKey is the context key of the innermost handler of a [Sender].
type insertKey struct{}

// NewSender returns a sender for an endpoint over the transport "event" or "job".
func NewSender(endpoint *chassi.Endpoint, over, route string) *Sender {
	return &Sender{binding: chassi.Binding{Endpoint: endpoint, Transport: over, Route: route, Client: true, Status: transport.CodeStatus}, send: insertOnly}
}

func insertOnly(ctx context.Context, call *chassi.Call) error {
	insert, _ := ctx.Value(insertKey{}).(chassi.Handler)
	return insert(ctx, call)
}

// Attach attaches an engine that was started. The outgoing middleware is used if no other engine is
// attached.
func (s *Sender) Attach(e *Engine, outgoing []chassi.Middleware) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engines = append(s.engines, e); len(s.engines) == 1 {
		s.send = s.binding.ClientHandler(insertOnly, outgoing...)
	}
}

// Detach detaches an engine.
func (s *Sender) Detach(e *Engine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.engines = slices.DeleteFunc(s.engines, func(other *Engine) bool { return other == e })
	if len(s.engines) == 0 {
		s.send = insertOnly
	}
}

// Send calls insert, which inserts a task in the transaction tx, with the headers of the task: the
// request id and the tenant of the call in ctx, and what the middleware adds. The engines are
// notified after the commit, see [Engine.OnCommit].
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

// tenantOf returns the tenant of a call as it is sent, percent-encoded. If the call has no
// principal but runs a task, it returns the tenant of the task.
func tenantOf(call *chassi.Call) string {
	switch p := call.Principal; {
	case p != nil:
		return url.QueryEscape(p.Tenant)
	case call.Binding != nil && (call.Transport == "event" || call.Transport == "job"):
		return call.In.Get(transport.TenantKey)
	}
	return ""
}
