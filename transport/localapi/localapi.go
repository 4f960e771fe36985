// Package localapi serves endpoints to callers in the same process: for tests,
// and for services that live in one binary.
package localapi

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport"
)

// Server serves endpoints to callers in the same process: it is a [chassi.Transport]
// and the [client.Caller] of what it serves. Calls pass through middleware and the
// endpoint's policy, as everywhere. Nothing is encoded: the method gets a shallow
// copy of the request, and the caller the method's own response. The caller's
// principal and peer go along.
type Server struct {
	middleware []chassi.Middleware
	served     map[string]served
	calls      transport.InFlight
}

type served struct {
	server  *Server
	binding *chassi.Binding
	handle  chassi.Handler
}

var (
	_ chassi.Transport = (*Server)(nil)
	_ client.Caller    = (*Server)(nil)
)

// New makes a server. The first middleware is outermost; none may be nil.
func New(middleware ...chassi.Middleware) *Server {
	return &Server{middleware: middleware, served: make(map[string]served)}
}

// Name returns "local".
func (*Server) Name() string { return "local" }

// Start does nothing.
func (*Server) Start(context.Context) error { return nil }

// Stop refuses new calls and waits for those in flight.
func (s *Server) Stop(ctx context.Context) error {
	if err := s.calls.Close(ctx); err != nil {
		return fmt.Errorf("localapi: %w", err)
	}
	return nil
}

// Mount serves the endpoints of service. It must not be called any more once there are
// calls.
func (s *Server) Mount(service *chassi.Service) error {
	if service.Err() != nil {
		return service.Err()
	}
	if slices.ContainsFunc(s.middleware, func(m chassi.Middleware) bool { return m == nil }) {
		return errors.New("localapi: calls pass through a middleware that is nil")
	}
	for _, e := range service.Endpoints() {
		b := &chassi.Binding{Endpoint: e, Transport: "local", Route: e.FullName(), Status: transport.CodeStatus}
		s.served[e.FullName()] = served{s, b, b.Handler(s.middleware...)}
	}
	return nil
}

// Bind finds the endpoint that is served under the name of e.
func (s *Server) Bind(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error) {
	there, ok := s.served[e.FullName()]
	if !ok {
		return nil, nil, fmt.Errorf("%s is not served in this process", e.FullName())
	}
	if there := there.binding.Endpoint; there.RequestType() != e.RequestType() || there.ResponseType() != e.ResponseType() {
		return nil, nil, fmt.Errorf("%s takes %v and returns %v here, not %v and %v", e.FullName(), there.RequestType(), there.ResponseType(), e.RequestType(), e.ResponseType())
	}
	b := &chassi.Binding{Endpoint: e, Transport: "local", Client: true, Route: e.FullName(), Status: transport.CodeStatus}
	return b, there.call, nil
}

// call makes a call for the server's side of what the client's side wants.
func (s served) call(ctx context.Context, from *chassi.Call) error {
	if !s.server.calls.Enter(s.binding.Route) {
		return transport.ErrStopping
	}
	defer s.server.calls.Leave(s.binding.Route)
	codec := &localCodec{from: from}
	call := &chassi.Call{Binding: s.binding, RequestID: transport.RequestID(from.In.Get(transport.RequestIDKey)), In: from.In, Out: from.Out, Codec: codec}
	if outer := chassi.CallFrom(ctx); outer != nil {
		call.Peer, call.PeerName, call.Principal = outer.Peer, outer.PeerName, outer.Principal
	}
	if err := s.handle(call.Context(ctx), call); err != nil {
		return chassi.ErrorOf(err)
	}
	if !codec.answered {
		return chassi.ErrorOf(errNotEncoded)
	}
	return nil
}

var errNotEncoded = errors.New("a middleware ended the call with neither a response nor an error")

// localCodec hands typed messages over without encoding them.
type localCodec struct {
	from     *chassi.Call
	answered bool
}

func (c *localCodec) Decode(request any) error {
	reflect.ValueOf(request).Elem().Set(reflect.ValueOf(c.from.Request).Elem())
	return nil
}

func (c *localCodec) Encode(response any) error {
	reflect.ValueOf(c.from.Response).Elem().Set(reflect.ValueOf(response).Elem())
	c.answered = true
	return nil
}
