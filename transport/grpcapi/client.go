package grpcapi

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/protobuf"
	"github.com/chassi-go/chassi/transport"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// ClientConfig configures a [Client]. Target is required. A zero value of a field with a default in
// its tag means this default.
type ClientConfig struct {
	Target          string        `config:"target" help:"host:port of the server"`
	Timeout         time.Duration `config:"timeout" default:"30s" min:"1ms" help:"maximum time of a call whose caller sets no deadline"`
	MaxMessageBytes int           `config:"max_message_bytes" default:"4194304" min:"1" help:"maximum size of a response in bytes"`
	PingInterval    time.Duration `config:"ping_interval" default:"30s" min:"10s" help:"inactivity after which a ping checks the connection"`

	// TLS is the configuration of every connection; nil means plain text.
	TLS *tls.Config `config:"-"`
	// Options are further dial options, for example for interceptors or compression. They are
	// applied after the options that this package sets.
	Options []grpc.DialOption `config:"-"`
}

func (c ClientConfig) withDefaults() ClientConfig {
	c.Timeout = cmp.Or(c.Timeout, 30*time.Second)
	c.MaxMessageBytes = cmp.Or(c.MaxMessageBytes, 4<<20)
	c.PingInterval = cmp.Or(c.PingInterval, 30*time.Second)
	return c
}

// Client calls endpoints over one logical connection, which is established by the first call. A
// lost connection is restored within seconds after the server is available again. Until then, calls
// fail with [chassi.Unavailable]: at once, or at the end of the first attempt to connect if that is
// still in progress. A Client is safe for concurrent use.
type Client struct {
	config ClientConfig
	conn   *grpc.ClientConn
}

// reconnect configures the delays between connection attempts, which grow to two seconds. The
// default delays of grpc-go grow to two minutes, during which a restarted server would stay unused.
var reconnect = backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second}

// maxHeaderBytes is the maximum size of the metadata of a response in bytes, including the details
// of an error. The client of package httpapi has the same limit.
const maxHeaderBytes = 64 << 10

// Dial returns a client for the server at c.Target, without establishing a connection. It returns
// an error if grpc-go does not accept the target or the options.
func Dial(c ClientConfig) (*Client, error) {
	c = c.withDefaults()
	secure := insecure.NewCredentials()
	if c.TLS != nil {
		secure = credentials.NewTLS(c.TLS)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(secure),
		grpc.WithDisableServiceConfig(), // package client does balancing and retries
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: 5 * time.Second}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: c.PingInterval, Timeout: 10 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(codec{}), grpc.MaxCallRecvMsgSize(c.MaxMessageBytes)),
		grpc.WithDisableRetry(), // package client retries, as only idempotent calls may be repeated
		grpc.WithMaxHeaderListSize(maxHeaderBytes),
	}
	conn, err := grpc.NewClient(c.Target, append(options, c.Options...)...)
	if err != nil {
		return nil, fmt.Errorf("grpcapi: client for target %q: %w", c.Target, err)
	}
	return &Client{config: c, conn: conn}, nil
}

// Close closes the connection. Calls in flight fail. Close returns an error if the client is
// already closed.
func (c *Client) Close() error { return c.conn.Close() }

// plans holds the plans of the request and the response of one endpoint.
type plans struct{ request, response *protobuf.Plan }

// outgoing holds the request and the response of one call for the codec.
type outgoing struct {
	plans    *plans
	body     []byte
	response any
	received int // number of messages received
}

// cardinality reports whether the call, which ended with err, failed because the server sent no
// message or more than one.
func (m *outgoing) cardinality(err error) bool {
	return m.received > 1 || m.received == 0 && status.Code(err) == codes.Internal && strings.Contains(err.Error(), noResponse)
}

// noResponse is grpc-go's error message for a missing response. Nothing else indicates this error.
const noResponse = "cardinality violation: received no response message"

// Error messages of grpc-go for a message or metadata that is too large. Nothing else indicates
// these errors.
const (
	messageTooLarge = "grpc: received message larger than max"
	headersTooLarge = "header list size to send violates the maximum size"
)

// tooLarge reports whether s means that a request exceeds the limit of the server, or that a
// response exceeds the limit of the client.
func tooLarge(s *status.Status) bool {
	return s.Code() == codes.ResourceExhausted && len(s.Proto().GetDetails()) == 0 && strings.HasPrefix(s.Message(), messageTooLarge)
}

// Bind implements [client.Caller]. It returns an error if e cannot be called over gRPC, for example
// because a message has no Protocol Buffers encoding.
func (c *Client) Bind(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error) {
	b, path, p, err := bind(e)
	return b, func(ctx context.Context, call *chassi.Call) error { return c.call(ctx, call, path, p) }, err
}

func bind(e *chassi.Endpoint) (b *chassi.Binding, path string, p *plans, err error) {
	if err := transport.CheckServed(e, "grpc"); err != nil {
		return nil, "", nil, err //nolint:wrapcheck // says which endpoint
	}
	if err := transport.CheckShape(e, "gRPC", false); err != nil {
		return nil, "", nil, err //nolint:wrapcheck // says which endpoint
	}
	p = new(plans)
	if p.request, err = protobuf.PlanOf(e.RequestType()); err != nil {
		return nil, "", nil, err
	}
	if p.response, err = protobuf.PlanOf(e.ResponseType()); err != nil {
		return nil, "", nil, err
	}
	service, name := protobuf.FullName(e)
	b = &chassi.Binding{Endpoint: e, Transport: "grpc", Client: true, Route: e.FullName(), Status: transport.CodeStatus}
	return b, "/" + service + "/" + name, p, nil
}

// request returns a context with the metadata of call, and the encoded request. It returns an error
// if the metadata or the request cannot be sent.
func request(ctx context.Context, call *chassi.Call, p *plans) (context.Context, []byte, error) {
	if err := transport.CheckMetadata(call.In); err != nil {
		return nil, nil, err
	}
	body, err := p.request.Append(nil, call.Request)
	if err != nil {
		return nil, nil, chassi.NewError(chassi.InvalidArgument, "malformed_request", "The request cannot be encoded").WithCause(err)
	}
	if in, ok := call.In.(*transport.Pairs); ok && len(*in) > 0 {
		md := make(metadata.MD, len(*in))
		for _, pair := range *in {
			md.Set(pair.Key, pair.Value)
		}
		ctx = metadata.NewOutgoingContext(ctx, md)
	}
	return ctx, body, nil
}

func (c *Client) call(ctx context.Context, call *chassi.Call, path string, p *plans) error {
	ctx, body, err := request(ctx, call, p)
	if err != nil {
		return err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.config.Timeout)
		defer cancel()
	}
	message := &outgoing{plans: p, body: body, response: call.Response}
	var header metadata.MD
	err = c.conn.Invoke(ctx, path, message, message, grpc.Header(&header))
	setOut(call, header)
	switch {
	case err == nil:
		return nil
	case message.cardinality(err):
		return errResponseCardinality.WithCause(err)
	default:
		return failure(ctx, err, header)
	}
}

func setOut(call *chassi.Call, md metadata.MD) {
	for key, values := range md {
		call.Out.Set(key, values[0])
	}
}

// failure converts err, an error of grpc-go, to the error of a call. The header is the metadata of
// the response.
func failure(ctx context.Context, err error, header metadata.MD) error {
	switch {
	case tooLarge(status.Convert(err)) && len(header) > 0: // one that refuses a request sends its status alone
		return transport.ErrResponseTooLarge.WithCause(err)
	case tooLarge(status.Convert(err)):
		return transport.ErrBodyTooLarge.WithCause(err)
	case status.Code(err) == codes.Internal && strings.Contains(err.Error(), headersTooLarge):
		return transport.ErrMetadataTooLarge.WithCause(err)
	default:
		return errorOf(ctx, err)
	}
}
