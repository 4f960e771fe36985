package grpcapi

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/protobuf"
	"github.com/chassi-go/chassi/transport"
)

// method is one endpoint as served here, with everything that is resolved before the first
// call.
type method struct {
	server            *Server
	service, name     string
	binding           chassi.Binding
	handler           chassi.Handler
	request, response *protobuf.Plan
	maxBytes          int // of a request
	calls             *transport.RouteInFlight
	size              atomic.Int64 // of the largest response so far, used as the initial buffer size
}

func (s *Server) newMethod(e *chassi.Endpoint, route string) *method {
	m := &method{server: s, binding: chassi.Binding{Endpoint: e, Transport: "grpc", Route: route, Status: transport.CodeStatus}}
	m.service, m.name = protobuf.FullName(e)
	m.calls = s.calls.Route(route)
	m.handler = m.binding.Handler(s.middleware...)
	if m.maxBytes = s.config.MaxMessageBytes; e.MaxBody() > 0 {
		m.maxBytes = int(min(e.MaxBody(), int64(m.maxBytes)))
	}
	return m
}

// refusal returns the reason why a middleware cannot serve the method, or nil.
func (m *method) refusal() error {
	if err := m.binding.Err(); err != nil {
		return fmt.Errorf("grpcapi: %s: %w", m.binding.Endpoint.FullName(), err)
	}
	return nil
}

func (m *method) plan() (err error) {
	e := m.binding.Endpoint
	if err := transport.CheckShape(e, "gRPC", false); err != nil {
		return fmt.Errorf("grpcapi: %w", err)
	}
	if m.request, err = protobuf.PlanOf(e.RequestType()); err == nil {
		m.response, err = protobuf.PlanOf(e.ResponseType())
	}
	if err != nil {
		return fmt.Errorf("grpcapi: %s: %w", e.FullName(), err)
	}
	return nil
}

// serve handles one call; grpc-go calls it when the header of a request has arrived. The method is
// registered as a client-streaming one, because grpc-go responds to a second or missing message of
// a unary method with a status that the specification does not define.
func (m *method) serve(_ any, stream grpc.ServerStream) (err error) {
	x := &exchange{method: m, stream: stream}
	defer x.lastResort(&err)
	if err := x.run(stream.Context()); err != nil {
		return statusOf(m.service, err).Err()
	}
	return stream.SendMsg(x)
}

// errCardinality is the error of a call with a wrong number of messages. Its code is UNIMPLEMENTED
// on either side (gRPC's "Status codes and their use in gRPC").
var errCardinality = chassi.NewError(chassi.Unimplemented, "unimplemented", "A method takes exactly one message, and returns one unless it is a stream")

var errTooLarge = chassi.NewError(chassi.ResourceExhausted, "body_too_large", "The message is too large")

var errUnknownMethod = chassi.NewError(chassi.Unimplemented, "unimplemented", "There is no such method")

func refuseUnknown(context.Context, *chassi.Call) error { return errUnknownMethod }

// serveUnknown handles calls of unknown methods.
func (m *method) serveUnknown(_ any, stream grpc.ServerStream) (err error) {
	x := &exchange{method: m, stream: stream}
	defer x.lastResort(&err)
	if err := x.run(stream.Context()); err != nil {
		return statusOf("", err).Err()
	}
	return statusOf("", errUnknownMethod).Err() // a middleware has dropped the error
}

// exchange is one call and its response. It implements the call's codec and is the message that
// grpc-go decodes and encodes, so that a call costs one allocation for all of them.
type exchange struct {
	call     chassi.Call
	method   *method
	stream   grpc.ServerStream
	message  any   // destination of the decoded request
	received bool  // whether the request was received
	failed   error // the decoding error
	body     []byte
	buffers  [1]mem.Buffer
	in       incoming
	out      transport.Pairs
	slots    [4]transport.Pair
}

var _ chassi.Codec = (*exchange)(nil)

func (x *exchange) run(ctx context.Context) error {
	x.method.calls.Acquire()
	defer x.method.calls.Release()
	x.begin(ctx, x)
	err := x.method.handler(x.call.Context(ctx), &x.call)
	x.sendHeader(ctx)
	return err
}

// begin sets up the call.
func (x *exchange) begin(ctx context.Context, codec chassi.Codec) {
	x.in.ctx, x.out = ctx, x.slots[:0] //nolint:fatcontext // the exchange is this call's
	x.call.Binding, x.call.Codec = &x.method.binding, codec
	x.call.In, x.call.Out = &x.in, &x.out
	x.call.Peer, x.call.PeerCertificate = x.method.server.clientOf(ctx)
	x.call.RequestID = transport.RequestID(x.in.Get(transport.RequestIDKey))
	if len(x.method.server.middleware) > 0 { // otherwise only the method uses the id
		x.out.Set(transport.RequestIDKey, x.call.RequestID)
	}
}

// clientOf returns the address of the client, which may be behind trusted proxies, and its
// certificate, or nil if it has none. It does not return the certificate of a trusted proxy, which
// is not the client's.
func (s *Server) clientOf(ctx context.Context) (addr netip.AddrPort, certificate *x509.Certificate) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return addr, nil
	}
	if info, ok := p.AuthInfo.(credentials.TLSInfo); ok && len(info.State.VerifiedChains) > 0 {
		certificate = info.State.VerifiedChains[0][0]
	}
	tcp, ok := p.Addr.(*net.TCPAddr)
	if !ok || len(s.config.TrustedProxies) == 0 {
		return tcp.AddrPort(), certificate
	}
	if transport.IsTrusted(tcp.AddrPort(), s.config.TrustedProxies) {
		certificate = nil // the proxy's
	}
	lines := metadata.ValueFromIncomingContext(ctx, s.config.ForwardedHeader)
	return transport.ClientAddr(tcp.AddrPort(), lines, s.config.TrustedProxies, s.config.ForwardedHeader), certificate
}

// sendHeader passes the response's metadata to grpc-go. It omits metadata that cannot be sent, with
// which the client might not receive the error of the call.
func (x *exchange) sendHeader(ctx context.Context) {
	if len(x.out) == 0 || transport.CheckResponse(x.out) != nil {
		return
	}
	_ = grpc.SetHeader(ctx, metadataOf(x.out)) // fails only when the call is over
}

func metadataOf(pairs transport.Pairs) metadata.MD {
	md := make(metadata.MD, len(pairs))
	values := make([]string, 0, len(pairs))
	for _, p := range pairs {
		values = append(values, p.Value)
		md[lower(p.Key)] = values[len(values)-1:]
	}
	return md
}

// lower returns a key in the lower case of HTTP/2, without an allocation for the common keys.
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

// Decode makes grpc-go read the message and decode it with the codec. If RecvMsg fails, grpc-go has
// already sent a response.
func (x *exchange) Decode(request any) error {
	x.message = request
	err := x.stream.RecvMsg(x)
	if err == nil {
		if err = x.stream.RecvMsg(x); errors.Is(err, io.EOF) {
			return x.failed
		}
	}
	if err == nil || errors.Is(err, io.EOF) { // two messages, or no message
		return errCardinality
	}
	s, _ := status.FromError(err)
	code := chassi.Code(s.Code())
	if tooLarge(s) {
		return transport.ErrBodyTooLarge.WithCause(err)
	}
	return chassi.NewError(code, code.String(), s.Message()).WithCause(err)
}

// Encode encodes response; grpc-go sends it after the middleware has returned.
func (x *exchange) Encode(response any) error {
	m := x.method
	if err := transport.CheckResponse(x.out); err != nil {
		return fmt.Errorf("grpcapi: the response of %s: %w", m.binding.Route, err)
	}
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

// maxHint is the maximum buffer size that is allocated for a response in advance.
const maxHint = 4 << 10

// lastResort recovers a panic that no middleware has recovered, logs it, and sets err to its status.
func (x *exchange) lastResort(err *error) {
	if v := recover(); v != nil {
		failure := chassi.Recovered(v)
		x.method.server.config.Logger.Error("panic outside of the middleware", "error", chassi.ErrorOf(failure), "request_id", x.call.RequestID)
		*err = statusOf(x.method.service, failure).Err()
	}
}

// incoming is the request's metadata.
type incoming struct{ ctx context.Context } //nolint:containedctx // they live in it

// Get returns the first value of key, or "".
func (m *incoming) Get(key string) string {
	if values := metadata.ValueFromIncomingContext(m.ctx, lower(key)); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Values returns all values of key.
func (m *incoming) Values(key string) []string {
	return metadata.ValueFromIncomingContext(m.ctx, lower(key))
}

// Set replaces all values of key, for the later stages of the call.
func (m *incoming) Set(key, value string) {
	md, _ := metadata.FromIncomingContext(m.ctx) // a copy
	if md == nil {
		md = metadata.MD{}
	}
	md.Set(key, value)
	m.ctx = metadata.NewIncomingContext(m.ctx, md)
}
