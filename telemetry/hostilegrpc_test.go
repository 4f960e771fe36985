package telemetry

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	grpcmetadata "google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/chassi-go/chassi/telemetry/exporters"
)

// respondWith sends a message with these bytes.
func respondWith(stream grpc.ServerStream, bytes []byte) error {
	m := new(emptypb.Empty)
	m.ProtoReflect().SetUnknown(bytes)
	return stream.SendMsg(m)
}

// hostileCalls are what a collector that speaks gRPC may do with an export.
func hostileCalls() map[string]grpc.StreamHandler {
	large := strings.Repeat("x", 1<<20)
	fails := func(code codes.Code, text string, details ...*errdetails.RetryInfo) grpc.StreamHandler {
		return func(any, grpc.ServerStream) error {
			s := status.New(code, text)
			for _, d := range details {
				var err error
				if s, err = s.WithDetails(d); err != nil {
					return err
				}
			}
			return s.Err()
		}
	}
	pause := func(d time.Duration) *errdetails.RetryInfo {
		return &errdetails.RetryInfo{RetryDelay: durationpb.New(d)}
	}
	return map[string]grpc.StreamHandler{
		"a hang":                       func(_ any, s grpc.ServerStream) error { <-s.Context().Done(); return nil },
		"a refusal":                    fails(codes.PermissionDenied, "no"),
		"unavailable":                  fails(codes.Unavailable, "later"),
		"exhausted":                    fails(codes.ResourceExhausted, "full"),
		"exhausted, at once again":     fails(codes.ResourceExhausted, "full", pause(0)),
		"exhausted, a negative pause":  fails(codes.ResourceExhausted, "full", pause(-time.Hour)),
		"exhausted, a pause of a year": fails(codes.ResourceExhausted, "full", pause(365*24*time.Hour)),
		"unavailable, a pause, longer": fails(codes.Unavailable, "later", &errdetails.RetryInfo{RetryDelay: &durationpb.Duration{Seconds: 1 << 62, Nanos: -1}}),
		"a long text":                  fails(codes.Internal, large+"\r\n\x00"),
		"large trailers": func(_ any, s grpc.ServerStream) error {
			for range 8 {
				s.SetTrailer(grpcmetadata.Pairs("x", large))
			}
			return status.Error(codes.Unavailable, "later")
		},
		"large headers":    func(_ any, s grpc.ServerStream) error { return s.SendHeader(grpcmetadata.Pairs("x", large)) },
		"a large response": func(_ any, s grpc.ServerStream) error { return respondWith(s, bytes.Repeat([]byte("\x08\x01"), 8<<20)) },
		"no protobuf": func(_ any, s grpc.ServerStream) error {
			return s.SendMsg(&errdetails.RetryInfo{RetryDelay: durationpb.New(1)})
		},
		"no response": func(any, grpc.ServerStream) error { return nil },
		"two responses": func(_ any, s grpc.ServerStream) error {
			_ = respondWith(s, nil)
			return respondWith(s, nil)
		},
		"partial success with a long text": func(_ any, s grpc.ServerStream) error {
			partial := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1<<63)
			partial = protowire.AppendString(protowire.AppendTag(partial, 2, protowire.BytesType), large)
			return respondWith(s, protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), partial))
		},
	}
}

// hostileListener is a listener whose connections can be reset.
type hostileListener struct {
	net.Listener
	accept func(net.Conn) net.Conn
}

func (l hostileListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		c = l.accept(c)
	}
	return c, err
}

// resets resets the connection after some bytes have been read.
type resets struct {
	net.Conn
	left int
}

func (c *resets) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.left -= n; c.left < 0 {
		_ = c.Conn.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
	return n, err
}

// Whatever a collector does that speaks gRPC: ending spans does not wait for it, the log stays
// short, and the end comes within its bound.
func TestHostileGRPCCollectors(t *testing.T) {
	t.Parallel()
	same := func(c net.Conn) net.Conn { return c }
	for name, handler := range hostileCalls() {
		testHostileCollector(t, name, handler, same)
	}
	fine := func(_ any, s grpc.ServerStream) error { return respondWith(s, nil) }
	testHostileCollector(t, "GOAWAY", fine, same, grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: time.Millisecond, MaxConnectionAgeGrace: time.Millisecond}))
	testHostileCollector(t, "a reset during the call", fine, func(c net.Conn) net.Conn { return &resets{c, 300} })
	testHostileCollector(t, "a reset before it", fine, func(c net.Conn) net.Conn { return &resets{c, 0} })
}

func testHostileCollector(t *testing.T, name string, handler grpc.StreamHandler, accept func(net.Conn) net.Conn, options ...grpc.ServerOption) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		asked := make(chan struct{}, 10_000)
		server := grpc.NewServer(append(options, grpc.UnknownServiceHandler(func(srv any, s grpc.ServerStream) error {
			asked <- struct{}{}
			return handler(srv, s)
		}))...)
		served := make(chan struct{})
		go func() { defer close(served); _ = server.Serve(hostileListener{listener, accept}) }()
		defer func() { server.Stop(); <-served }()
		var out bytes.Buffer
		c := Config{Trace: TraceConfig{Exporter: "otlp-grpc", Endpoint: "http://" + listener.Addr().String(), Ratio: 1, Exporters: exporters.All()}}
		tel, err := New(t.Context(), "svc", "1", c, &out)
		if err != nil {
			t.Fatal(err)
		}
		const spans = 5000 // more than wait
		for range spans {
			_, span := tel.Tracer.Tracer("test").Start(t.Context(), "span")
			span.End()
		}
		if !strings.HasPrefix(name, "a reset") { // which may come before the call
			<-asked
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := tel.Stop(ctx); err != nil || ctx.Err() != nil {
			t.Errorf("the end: %v, %v", err, ctx.Err())
		}
		if lines := strings.Split(out.String(), "\n"); out.Len() > 10_000 || len(lines) > 20 {
			t.Errorf("%d lines and %d bytes in the log:\n%.2000s", len(lines), out.Len(), out.String())
		}
	})
}
