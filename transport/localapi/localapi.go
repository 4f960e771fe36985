// Package localapi serves endpoints within the process. It is intended for tests, and for programs
// that contain several services.
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

// Server serves endpoints within the process. It is a [chassi.Transport], and the [client.Streamer]
// for the endpoints that it serves. Calls pass through middleware and the endpoint's policy, as on
// other transports. Messages are not encoded: the method gets a shallow copy of the request, and
// the client gets a shallow copy of the response. The items of a stream are passed on without a
// copy. A call made with the context of another call has the peer and the principal of that call.
//
// A [chassi.File] is handled as over HTTP: its name is cleaned, its size is checked,
// [chassi.MaxBody] limits a file in a request, and a call with a file in its response lasts until
// the file has been read or closed.
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

// Start is a no-op that returns nil.
func (*Server) Start(context.Context) error { return nil }

// Stop refuses new calls, ends the streams that are not [chassi.Finite], and waits for the calls in
// flight. If ctx is done first, it returns an error with the number of remaining calls of each
// endpoint.
func (s *Server) Stop(ctx context.Context) error {
	s.streams.Stop()
	if err := s.calls.Close(ctx); err != nil {
		return fmt.Errorf("localapi: %w", err)
	}
	return nil
}

// Mount adds the endpoints of service, except those that [chassi.Transports] limits to other
// transports. It returns an error if service is invalid or already mounted, if a middleware is nil,
// or if an endpoint cannot be served. It must not be called after the first call of an endpoint.
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

// Bind implements [client.Caller]. It binds e to the mounted endpoint with the same full name. It
// returns an error if [chassi.Transports] limits e to other transports, if there is no such mounted
// endpoint, or if the request or response types of the two endpoints differ.
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

// BindStream implements [client.Streamer]. It binds e, a stream, to the mounted endpoint with the
// same full name, as Bind does. Streams have the default limits of [transport.StreamConfig], except
// that the time until the client accepts an item is unlimited.
func (s *Server) BindStream(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error) {
	return s.Bind(e)
}

// call makes the call of the server that corresponds to from, a call of the client. It returns the
// error of the server's call, or [transport.ErrStopping] if the server is stopping.
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

// serve makes the call of the server that corresponds to from, a call of the client. The codec
// passes on the messages, and out receives the metadata of the response. serve returns the error of
// the server's call, or an error if the metadata of from is invalid.
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

// contained calls the handler and returns its error. It recovers a panic that no middleware has
// recovered, and returns an error for it.
func (s served) contained(ctx context.Context, call *chassi.Call) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = chassi.Recovered(v)
		}
	}()
	return s.handle(ctx, call)
}

// localCodec is the [chassi.Codec] of a call. It copies the request and the response without
// encoding them.
type localCodec struct {
	from *chassi.Call
	out  chassi.Metadata // metadata of the response
	sent *sentFile       // file in the request; nil if there is none
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
			return fmt.Errorf("localapi: the response of %s: %w", c.from.Endpoint.FullName(), err)
		}
	}
	reflect.ValueOf(c.from.Response).Elem().Set(reflect.ValueOf(response).Elem())
	return nil
}

// streamCodec is the [chassi.StreamCodec] of a call. It passes the items of a stream to the client
// without encoding them.
type streamCodec struct {
	*localCodec
	server *Server
	ctx    context.Context       //nolint:containedctx // of the stream, nil before Begin
	stream *transport.OpenStream // nil before Begin
}

var _ chassi.StreamCodec = (*streamCodec)(nil)

// Begin admits the stream and returns its context. It returns an error if too many streams are
// open, or if the server is stopping and the stream is not [chassi.Finite].
func (c *streamCodec) Begin(ctx context.Context, call *chassi.Call) (context.Context, error) {
	ctx, stream, err := c.server.streams.Open(ctx, call)
	c.ctx, c.stream = ctx, stream
	return ctx, err //nolint:wrapcheck // is the response
}

// Open informs the client that the stream is open. It returns an error if the metadata of the
// response is invalid.
func (c *streamCodec) Open() error {
	if out, ok := c.from.Out.(*transport.Pairs); ok {
		if err := transport.CheckResponse(*out); err != nil {
			return fmt.Errorf("localapi: the response of %s: %w", c.from.Endpoint.FullName(), err)
		}
	}
	c.from.Stream.Open()
	return nil
}

var errLeft = chassi.NewError(chassi.Canceled, "canceled", "The client has left the stream")

// Send passes item to the client and waits until the client has accepted it. It returns an error if
// the stream ends first or the client has left it. The returned size is always 0.
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
