// Package localapi serves endpoints within the process: for tests, and for several services in
// one binary.
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

// Server serves endpoints within the process. It is a [chassi.Transport] and the
// [client.Caller] for the endpoints that it serves. Calls pass through middleware and the
// endpoint's policy, as on other transports. Nothing is encoded: the method gets a shallow copy of
// the request, and the client gets a shallow copy of the response, or the items of a stream
// themselves. The principal and the peer of the caller's call are passed on. A [chassi.File] is
// handled as over HTTP: its name is cleaned, its size is checked, [chassi.MaxBody] limits a file in
// a request, and a call with a file in its response lasts until the file has been read or closed.
type Server struct {
	middleware []chassi.Middleware
	served     map[string]served
	mounted    transport.Mounted
	calls      transport.InFlight
	streams    *transport.Streams
}

type served struct {
	server  *Server
	binding *chassi.Binding
	handle  chassi.Handler
	calls   *transport.RouteInFlight
}

var (
	_ chassi.Transport = (*Server)(nil)
	_ client.Streamer  = (*Server)(nil)
)

// New returns a server whose calls pass through middleware, the first one outermost. No middleware
// may be nil.
func New(middleware ...chassi.Middleware) *Server {
	return &Server{middleware: middleware, served: make(map[string]served), streams: transport.NewStreams(transport.StreamConfig{})}
}

// Name returns "local".
func (*Server) Name() string { return "local" }

// Start is a no-op.
func (*Server) Start(context.Context) error { return nil }

// Stop refuses new calls, ends subscriptions and waits for the calls in flight. If ctx ends first,
// it returns an error with the number of remaining calls of each endpoint.
func (s *Server) Stop(ctx context.Context) error {
	s.streams.Stop()
	if err := s.calls.Close(ctx); err != nil {
		return fmt.Errorf("localapi: %w", err)
	}
	return nil
}

// Mount adds the endpoints of service. It must not be called after the first call.
func (s *Server) Mount(service *chassi.Service) error {
	if err := s.mounted.Add(service); err != nil {
		return fmt.Errorf("localapi: %w", err)
	}
	if slices.ContainsFunc(s.middleware, func(m chassi.Middleware) bool { return m == nil }) {
		return errors.New("localapi: a middleware is nil")
	}
	var errs []error
	for _, e := range service.Endpoints() {
		if !e.ServedOver("local") {
			continue
		}
		if err := transport.CheckShape(e, "localapi", true); err != nil {
			errs = append(errs, fmt.Errorf("localapi: %w", err))
			continue
		}
		b := &chassi.Binding{Endpoint: e, Transport: "local", Route: e.FullName(), Status: transport.CodeStatus}
		h := b.Handler(s.middleware...)
		if err := b.Err(); err != nil {
			errs = append(errs, fmt.Errorf("localapi: %s: %w", e.FullName(), err))
			continue
		}
		s.served[e.FullName()] = served{s, b, h, s.calls.Route(b.Route)}
	}
	return errors.Join(errs...)
}

// Bind implements [client.Caller]. It binds e to the mounted endpoint with the same name, which must
// have the same request and response types.
func (s *Server) Bind(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error) {
	if err := transport.CheckServed(e, "local"); err != nil {
		return nil, nil, err //nolint:wrapcheck // says which endpoint
	}
	there, ok := s.served[e.FullName()]
	if !ok {
		return nil, nil, fmt.Errorf("%s is not served in this process", e.FullName())
	}
	if there := there.binding.Endpoint; there.RequestType() != e.RequestType() || there.ResponseType() != e.ResponseType() {
		return nil, nil, fmt.Errorf("%s accepts %v and returns %v, not %v and %v", e.FullName(), there.RequestType(), there.ResponseType(), e.RequestType(), e.ResponseType())
	}
	b := &chassi.Binding{Endpoint: e, Transport: "local", Client: true, Route: e.FullName(), Status: transport.CodeStatus}
	return b, there.call, nil
}

// BindStream implements [client.Streamer]. The limits of streams are the defaults of
// [transport.StreamConfig], but there is no limit to the time that the client takes for an item.
func (s *Server) BindStream(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error) {
	return s.Bind(e)
}

// call carries out a call of the client as a call of the server.
func (s served) call(ctx context.Context, from *chassi.Call) error {
	if !s.calls.Acquire() {
		return transport.ErrStopping
	}
	if _, response := s.binding.Endpoint.Files(); response {
		return s.callForFile(ctx, from)
	}
	defer s.calls.Release()
	codec := &localCodec{from: from, out: from.Out}
	if s.binding.Endpoint.Streams() {
		codec := &streamCodec{localCodec: codec, server: s.server}
		defer codec.close()
		return s.serve(ctx, from, codec, from.Out)
	}
	return s.serve(ctx, from, codec, from.Out)
}

// serve carries out from, a call of the client, with codec. It sets the metadata of the response in
// out.
func (s served) serve(ctx context.Context, from *chassi.Call, codec chassi.Codec, out chassi.Metadata) error {
	if err := transport.CheckMetadata(from.In); err != nil {
		return err
	}
	call := &chassi.Call{
		Binding: s.binding, RequestID: transport.RequestID(from.In.Get(transport.RequestIDKey)),
		In: from.In, Out: out, Codec: codec,
	}
	if outer := chassi.CallFrom(ctx); outer != nil {
		call.Peer, call.PeerName, call.Principal = outer.Peer, outer.PeerName, outer.Principal
	}
	if err := s.contained(call.Context(ctx), call); err != nil {
		if call.Response != nil {
			transport.CloseFile(call.Response) // which the client does not get
		}
		return chassi.ErrorOf(err)
	}
	return nil
}

// contained calls the handler. It returns an error for a panic that no middleware has recovered.
func (s served) contained(ctx context.Context, call *chassi.Call) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = chassi.Recovered(v)
		}
	}()
	return s.handle(ctx, call)
}

// localCodec passes typed messages on without encoding them.
type localCodec struct {
	from *chassi.Call
	out  chassi.Metadata // of the response
	sent *sentFile       // file of the request, nil without one
}

func (c *localCodec) Decode(request any) error {
	reflect.ValueOf(request).Elem().Set(reflect.ValueOf(c.from.Request).Elem())
	if sent, _ := c.from.Endpoint.Files(); sent {
		return c.prepare(request, c.from.Endpoint.MaxBody())
	}
	return nil
}

func (c *localCodec) Encode(response any) error {
	if c.sent != nil && c.sent.failed != nil {
		return c.sent.failed // the method may take the file for complete
	}
	if out, ok := c.out.(*transport.Pairs); ok {
		if err := transport.CheckResponse(*out); err != nil {
			return fmt.Errorf("localapi: the response: %w", err)
		}
	}
	reflect.ValueOf(c.from.Response).Elem().Set(reflect.ValueOf(response).Elem())
	return nil
}

// streamCodec passes the items of a stream on.
type streamCodec struct {
	*localCodec
	server *Server
	ctx    context.Context       //nolint:containedctx // of the stream, nil before Begin
	stream *transport.OpenStream // nil before Begin
}

var _ chassi.StreamCodec = (*streamCodec)(nil)

// Begin admits the stream.
func (c *streamCodec) Begin(ctx context.Context, call *chassi.Call) (context.Context, error) {
	ctx, stream, err := c.server.streams.Open(ctx, call)
	c.ctx, c.stream = ctx, stream
	return ctx, err //nolint:wrapcheck // is the response
}

// Open tells the client that the stream is open.
func (c *streamCodec) Open() error {
	if out, ok := c.from.Out.(*transport.Pairs); ok {
		if err := transport.CheckResponse(*out); err != nil {
			return fmt.Errorf("localapi: the response: %w", err)
		}
	}
	c.from.Stream.Open()
	return nil
}

var errLeft = chassi.NewError(chassi.Canceled, "canceled", "The client has left the stream")

// Send passes an item to the client. It waits until the client takes the item or the stream ends.
func (c *streamCodec) Send(item any) (int, error) {
	switch {
	case c.from.Stream.Received(c.ctx, item, 0):
		return 0, nil
	case c.ctx.Err() != nil:
		return 0, context.Cause(c.ctx) //nolint:wrapcheck // is the response
	default:
		return 0, errLeft
	}
}

func (c *streamCodec) close() {
	if c.stream != nil {
		c.stream.Close()
	}
}
