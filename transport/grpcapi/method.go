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

// method serves the calls of one endpoint. All data that does not depend on a call is prepared
// before the first call.
type method struct {
	server            *Server
	service, name     string
	binding           chassi.Binding
	handler           chassi.Handler
	request, response *protobuf.Plan
	maxBytes          int // maximum size of a request
	calls             *transport.RouteInFlight
	size              atomic.Int64 // of the largest response so far of at most maxHint bytes
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

// refusal returns an error if a middleware cannot serve the method.
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

// serve handles one call and returns its status error. grpc-go calls serve when the header of a
// request has arrived. The method is registered as a client-streaming method, because grpc-go
// responds to a second or missing message of a unary method with a status that the specification
// does not define.
func (m *method) serve(_ any, stream grpc.ServerStream) (err error) {
	x := &exchange{method: m, stream: stream}
	defer x.lastResort(&err)
	if err := x.run(stream.Context()); err != nil {
		return statusOf(m.service, err).Err()
	}
	return stream.SendMsg(x)
}

// Errors for a wrong number of messages in a request and in a response. The server and the client
// both use the code UNIMPLEMENTED (gRPC's "Status codes and their use in gRPC").
var (
	errCardinality         = chassi.NewError(chassi.Unimplemented, "unimplemented", "A request must have exactly one message")
	errResponseCardinality = chassi.NewError(chassi.Unimplemented, "unimplemented", "The response does not have exactly one message")
)

var errTooLarge = chassi.NewError(chassi.ResourceExhausted, "body_too_large", "The message is too large")

var errUnknownMethod = chassi.NewError(chassi.Unimplemented, "unimplemented", "There is no such method")

func refuseUnknown(context.Context, *chassi.Call) error { return errUnknownMethod }

// serveUnknown handles one call of an unknown method. It returns the error of the middleware, or
// errUnknownMethod if the middleware returns no error.
func (m *method) serveUnknown(_ any, stream grpc.ServerStream) (err error) {
	x := &exchange{method: m, stream: stream}
	defer x.lastResort(&err)
	if err := x.run(stream.Context()); err != nil {
		return statusOf("", err).Err()
	}
	return statusOf("", errUnknownMethod).Err() // a middleware has dropped the error
}

// exchange is one call with its response. It is also the codec of the call, and the message that
// grpc-go decodes and encodes, so that one allocation serves all of these purposes.
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

// begin initializes x.call with codec, and with the metadata and the peer in ctx.
func (x *exchange) begin(ctx context.Context, codec chassi.Codec) {
	x.in.ctx, x.out = ctx, x.slots[:0] //nolint:fatcontext // the exchange is this call's
	x.call.Binding, x.call.Codec = &x.method.binding, codec
	x.call.In, x.call.Out = &x.in, &x.out
	x.call.Peer, x.call.PeerCertificate = x.method.server.clientOf(ctx)
	x.call.RequestID = transport.RequestID(x.in.Get(transport.RequestIDKey))
	if len(x.method.server.middleware) > 0 { // otherwise only the method uses the ID
		x.out.Set(transport.RequestIDKey, x.call.RequestID)
	}
}

// clientOf returns the address of the client, which may be behind trusted proxies, and the verified
// certificate of the client. The certificate is nil if the client has none, or if the connection
// comes from a trusted proxy. The address is invalid if the peer is unknown.
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

// sendHeader passes the metadata of the response to grpc-go. It omits all metadata if a part cannot
// be sent, because the client might then not receive the error of the call.
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

// lower returns key in lower case, as HTTP/2 requires. It does not allocate memory for common keys.
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

// Decode implements [chassi.Codec]. It makes grpc-go read the message of the call and decode it
// into request. It returns an error if the message is malformed or too large, or if the call does
// not have exactly one message. If RecvMsg fails, grpc-go has already sent a response.
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

// Encode implements [chassi.Codec]. It encodes response, which grpc-go sends after the middleware
// has returned. It returns an error if response or the metadata of the response cannot be sent.
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

// maxHint is the maximum size of a buffer that is allocated for a response in advance, in bytes.
const maxHint = 4 << 10

// lastResort recovers a panic that no middleware has recovered, logs the panic, and sets *err to a
// status error. It must be deferred.
func (x *exchange) lastResort(err *error) {
	if v := recover(); v != nil {
		failure := chassi.Recovered(v)
		x.method.server.config.Logger.Error("panic outside of the middleware", "error", chassi.ErrorOf(failure), "request_id", x.call.RequestID)
		*err = statusOf(x.method.service, failure).Err()
	}
}

// incoming is the metadata of a request, which grpc-go stores in ctx.
type incoming struct{ ctx context.Context } //nolint:containedctx // they live in it

// Get returns the first value of key, or "" if key has no value.
func (m *incoming) Get(key string) string {
	if values := metadata.ValueFromIncomingContext(m.ctx, lower(key)); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Values returns all values of key, or nil if key has no value.
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
