package grpcapi

import (
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

// ClientConfig sets up a [Client]. The zero value of every field but Target means
// the default in its tag.
type ClientConfig struct {
	Target          string        `config:"target" help:"host:port"`
	Timeout         time.Duration `config:"timeout" default:"30s" min:"1ms" help:"for a call whose caller sets no deadline"`
	MaxMessageBytes int           `config:"max_message_bytes" default:"4194304" min:"1" help:"an answer"`
	PingInterval    time.Duration `config:"ping_interval" default:"30s" min:"10s" help:"from silence to the ping that tells a dead connection"`

	// TLS is used for every connection; nil is plain text.
	TLS *tls.Config `config:"-"`
	// Options come behind those of this package: interceptors, compression.
	Options []grpc.DialOption `config:"-"`
}

func (c ClientConfig) withDefaults() ClientConfig {
	setDefault(&c.Timeout, 30*time.Second)
	setDefault(&c.MaxMessageBytes, 4<<20)
	setDefault(&c.PingInterval, 30*time.Second)
	return c
}

// Client calls endpoints over one logical connection, which is made with the
// first call, and made again within seconds when it is lost and the server is back. Until
// then calls fail at once with [chassi.Unavailable]. It is safe for concurrent use.
type Client struct {
	config ClientConfig
	conn   *grpc.ClientConn
}

// reconnect are the pauses between attempts to connect: grpc-go's own grow to two
// minutes, which a server that is back would go unnoticed.
var reconnect = backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second}

// maxHeaderBytes bounds an answer's metadata, the details of an error among them. It
// is that of package httpapi's client.
const maxHeaderBytes = 64 << 10

// Dial makes a client. It connects to nothing yet.
func Dial(c ClientConfig) (*Client, error) {
	c = c.withDefaults()
	secure := insecure.NewCredentials()
	if c.TLS != nil {
		secure = credentials.NewTLS(c.TLS)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(secure),
		grpc.WithDisableServiceConfig(), // balancing and retries are package client's
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: 5 * time.Second}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: c.PingInterval, Timeout: 10 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(codec{}), grpc.MaxCallRecvMsgSize(c.MaxMessageBytes)),
		grpc.WithDisableRetry(), // retries are for who knows what may be repeated
		grpc.WithMaxHeaderListSize(maxHeaderBytes),
	}
	conn, err := grpc.NewClient(c.Target, append(options, c.Options...)...)
	if err != nil {
		return nil, fmt.Errorf("grpcapi: target %q: %w", c.Target, err)
	}
	return &Client{config: c, conn: conn}, nil
}

// Close ends the connection. Calls under way fail.
func (c *Client) Close() error { return c.conn.Close() }

// plans are how the messages of one endpoint are written and read.
type plans struct{ request, response *protobuf.Plan }

// outgoing is one call's request and response for the codec.
type outgoing struct {
	plans    *plans
	body     []byte
	response any
	received int // messages
}

// cardinality tells whether err is about a server that has answered with no message or
// with several.
func (m *outgoing) cardinality(err error) bool {
	return m.received > 1 || m.received == 0 && status.Code(err) == codes.Internal && strings.Contains(err.Error(), noResponse)
}

// noResponse is how grpc-go says that there was none; it has no other sign of it.
const noResponse = "cardinality violation: received no response message"

// Bind prepares calls of e.
func (c *Client) Bind(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error) {
	p := new(plans)
	var err error
	if p.request, err = protobuf.PlanOf(e.RequestType()); err != nil {
		return nil, nil, err
	}
	if p.response, err = protobuf.PlanOf(e.ResponseType()); err != nil {
		return nil, nil, err
	}
	service, name := protobuf.FullName(e)
	path := "/" + service + "/" + name
	b := &chassi.Binding{Endpoint: e, Transport: "grpc", Client: true, Route: e.FullName(), Status: transport.CodeStatus}
	return b, func(ctx context.Context, call *chassi.Call) error { return c.call(ctx, call, path, p) }, nil
}

func (c *Client) call(ctx context.Context, call *chassi.Call, path string, p *plans) error {
	body, err := p.request.Append(nil, call.Request)
	if err != nil {
		return chassi.NewError(chassi.InvalidArgument, "malformed_request", "The request cannot be sent").WithCause(err)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.config.Timeout)
		defer cancel()
	}
	if in, ok := call.In.(*transport.Pairs); ok && len(*in) > 0 {
		md := make(metadata.MD, len(*in))
		for _, pair := range *in {
			md.Set(pair.Key, pair.Value)
		}
		ctx = metadata.NewOutgoingContext(ctx, md)
	}
	message := &outgoing{plans: p, body: body, response: call.Response}
	var header metadata.MD
	err = c.conn.Invoke(ctx, path, message, message, grpc.Header(&header))
	for key, values := range header {
		call.Out.Set(key, values[0])
	}
	switch {
	case err == nil:
		return nil
	case message.cardinality(err):
		return errCardinality.WithCause(err)
	default:
		return errorOf(ctx, err)
	}
}
