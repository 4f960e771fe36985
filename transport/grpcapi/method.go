package grpcapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/protobuf"
	"github.com/chassi-go/chassi/transport"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// method is one endpoint as it is served here, with all that can be known before
// the first call.
type method struct {
	server            *Server
	service, name     string
	binding           chassi.Binding
	handler           chassi.Handler
	request, response *protobuf.Plan
	inFlight          atomic.Int64
	size              atomic.Int64 // of the largest answer so far, to begin with
}

func (s *Server) newMethod(e *chassi.Endpoint, route string) *method {
	m := &method{server: s, binding: chassi.Binding{Endpoint: e, Transport: "grpc", Route: route, Status: transport.CodeStatus}}
	m.service, m.name = protobuf.FullName(e)
	m.handler = m.binding.Handler(s.middleware...)
	return m
}

func (m *method) plan() (err error) {
	e := m.binding.Endpoint
	if m.request, err = protobuf.PlanOf(e.RequestType()); err == nil {
		m.response, err = protobuf.PlanOf(e.ResponseType())
	}
	if err != nil {
		return fmt.Errorf("grpcapi: %s: %w", e.FullName(), err)
	}
	return nil
}

// serve is called by grpc-go once the header of a request has arrived. The method is
// registered as one whose client sends a stream of messages, because grpc-go answers a
// unary method's second or missing message with a status that is not the
// specification's.
func (m *method) serve(_ any, stream grpc.ServerStream) (err error) {
	x := &exchange{method: m, stream: stream}
	defer x.lastResort(&err)
	if err := x.run(stream.Context()); err != nil {
		return statusOf(m.service, err).Err()
	}
	return stream.SendMsg(x)
}

// errCardinality is UNIMPLEMENTED on either side (gRPC's "Status codes and their use in
// gRPC").
var errCardinality = chassi.NewError(chassi.Unimplemented, "unimplemented", "A unary method has exactly one message each way")

var errUnknownMethod = chassi.NewError(chassi.Unimplemented, "unimplemented", "There is no such method")

func refuseUnknown(context.Context, *chassi.Call) error { return errUnknownMethod }

// serveUnknown answers calls of methods that there are not.
func (m *method) serveUnknown(_ any, stream grpc.ServerStream) (err error) {
	x := &exchange{method: m, stream: stream}
	defer x.lastResort(&err)
	if err := x.run(stream.Context()); err != nil {
		return statusOf("", err).Err()
	}
	return statusOf("", errUnknownMethod).Err() // a middleware has taken the error away
}

// exchange is one call and its answer. It is the call's codec too, and what
// grpc-go is given for the messages, so that a call costs one allocation for all
// of them.
type exchange struct {
	call     chassi.Call
	method   *method
	stream   grpc.ServerStream
	message  any   // what the codec reads the request into
	received bool  // whether it has
	failed   error // why it could not
	body     []byte
	buffers  [1]mem.Buffer
	in       incoming
	out      transport.Pairs
	room     [4]transport.Pair
}

var _ chassi.Codec = (*exchange)(nil)

func (x *exchange) run(ctx context.Context) error {
	x.method.inFlight.Add(1)
	defer x.method.inFlight.Add(-1)
	x.in.ctx, x.out = ctx, x.room[:0] //nolint:fatcontext // the exchange is this call's
	x.call.Binding, x.call.Codec = &x.method.binding, x
	x.call.In, x.call.Out = &x.in, &x.out
	x.call.Peer = x.method.server.clientOf(ctx)
	x.call.RequestID = transport.RequestID(x.in.Get(transport.RequestIDKey))
	if len(x.method.server.middleware) > 0 { // otherwise nobody knows the id but the method
		x.out.Set(transport.RequestIDKey, x.call.RequestID)
	}
	err := x.method.handler(x.call.Context(ctx), &x.call)
	x.sendHeader(ctx)
	return err
}

// clientOf returns the address of the client, past the trusted proxies.
func (s *Server) clientOf(ctx context.Context) netip.AddrPort {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return netip.AddrPort{}
	}
	tcp, ok := p.Addr.(*net.TCPAddr)
	if !ok || len(s.config.TrustedProxies) == 0 {
		return tcp.AddrPort()
	}
	lines := metadata.ValueFromIncomingContext(ctx, s.config.ForwardedHeader)
	return transport.ClientAddr(tcp.AddrPort(), lines, s.config.TrustedProxies, s.config.ForwardedHeader)
}

// sendHeader leaves the answer's pairs to grpc-go, but for those that no HTTP/2
// header can carry.
func (x *exchange) sendHeader(ctx context.Context) {
	if len(x.out) == 0 {
		return
	}
	md := make(metadata.MD, len(x.out))
	values := make([]string, 0, len(x.out))
	for _, p := range x.out {
		if isPrintable(p.Value) {
			values = append(values, p.Value)
			md[lower(p.Key)] = values[len(values)-1:]
		}
	}
	_ = grpc.SetHeader(ctx, md) // fails only when the call is over
}

func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// lower spells a key as HTTP/2 does, without an allocation for those that every
// call has.
func lower(key string) string {
	if l, ok := usual[key]; ok {
		return l
	}
	return strings.ToLower(key)
}

var usual = map[string]string{
	"Authorization": "authorization", "Traceparent": "traceparent", "X-Api-Key": "x-api-key", transport.RequestIDKey: "x-request-id",
	"Ratelimit": "ratelimit", "Ratelimit-Policy": "ratelimit-policy",
}

// Decode lets grpc-go read the one message and hand its bytes to the codec. When
// grpc-go cannot, it has answered already.
func (x *exchange) Decode(request any) error {
	x.message = request
	err := x.stream.RecvMsg(x)
	if err == nil {
		if err = x.stream.RecvMsg(x); errors.Is(err, io.EOF) {
			return x.failed
		}
	}
	if err == nil || errors.Is(err, io.EOF) { // two messages, or none
		return errCardinality
	}
	s, _ := status.FromError(err)
	code := chassi.Code(s.Code())
	return chassi.NewError(code, code.String(), s.Message()).WithCause(err)
}

// Encode writes response; grpc-go takes it when the middleware has returned.
func (x *exchange) Encode(response any) error {
	m := x.method
	hint := m.size.Load()
	body, err := m.response.Append(make([]byte, 0, hint), response)
	if err != nil {
		return err
	}
	if size := int64(len(body)); size > hint && size <= maxHint {
		m.size.Store(size)
	}
	x.body = body
	return nil
}

// maxHint bounds what is set aside for an answer before it is known.
const maxHint = 4 << 10

// lastResort answers a panic that no middleware contained.
func (x *exchange) lastResort(err *error) {
	if v := recover(); v != nil {
		failure := chassi.Recovered(v)
		x.method.server.config.Logger.Error("panic outside of the middleware", "error", chassi.ErrorOf(failure), "request_id", x.call.RequestID)
		*err = statusOf(x.method.service, failure).Err()
	}
}

// incoming are the request's metadata.
type incoming struct{ ctx context.Context } //nolint:containedctx // they live in it

// Get returns the first value.
func (m *incoming) Get(key string) string {
	if values := metadata.ValueFromIncomingContext(m.ctx, lower(key)); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Set replaces all values, for what comes later in the call.
func (m *incoming) Set(key, value string) {
	md, _ := metadata.FromIncomingContext(m.ctx) // a copy
	if md == nil {
		md = metadata.MD{}
	}
	md.Set(key, value)
	m.ctx = metadata.NewIncomingContext(m.ctx, md)
}
