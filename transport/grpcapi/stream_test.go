package grpcapi_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/certtest"
	"github.com/chassi-go/chassi/internal/h2test"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/schema/protobuf"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"golang.org/x/net/http2"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

type (
	countRequest struct {
		To int64 `json:"to"`
	}
	number struct {
		Value int64  `json:"value"`
		Fill  string `json:"fill"`
	}
	counting = func(context.Context, *countRequest) (iter.Seq2[*number, error], error)
)

const countPath = "/count.v1.Counter/Count"

func counter(count counting, options ...chassi.EndpointOption) *chassi.Service {
	return chassi.NewService("count.v1.Counter", chassi.NewStream("Count", count, append(options, chassi.Public)...))
}

// count yields the numbers from 1 to r.To.
func count(_ context.Context, r *countRequest) (iter.Seq2[*number, error], error) {
	return func(yield func(*number, error) bool) {
		for i := range r.To {
			if !yield(&number{Value: i + 1}, nil) {
				return
			}
		}
	}, nil
}

// idle sends one item and waits for the end of its context.
func idle(ctx context.Context, _ *countRequest) (iter.Seq2[*number, error], error) {
	return func(yield func(*number, error) bool) {
		if yield(&number{Value: 1}, nil) {
			<-ctx.Done()
		}
	}, nil
}

// serveStreams starts a server and stops it with the test.
func serveStreams(t testing.TB, c grpcapi.Config, service *chassi.Service, middleware ...chassi.Middleware) *grpcapi.Server {
	t.Helper()
	s := start(t, c, middleware, service)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

func streamClient(t testing.TB, s *grpcapi.Server, service *chassi.Service, c grpcapi.ClientConfig) *client.Client {
	t.Helper()
	c.Target = s.Addr().String()
	caller, err := grpcapi.Dial(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { caller.Close() })
	bound, err := client.New(service, caller)
	if err != nil {
		t.Fatal(err)
	}
	return bound
}

func open(ctx context.Context, c *client.Client, to int64) (iter.Seq2[*number, error], error) {
	return client.Stream[number](ctx, c, "Count", &countRequest{To: to})
}

// all returns what a stream yields.
func all(t testing.TB, items iter.Seq2[*number, error], err error) (values []int64, end error) {
	t.Helper()
	if err != nil || items == nil {
		t.Fatalf("the stream did not open: %v", err)
	}
	for item, err := range items {
		if err != nil {
			return values, err
		}
		values = append(values, item.Value)
	}
	return values, nil
}

// pull returns the next item of a stream, whose end is part of the test.
func pull(t testing.TB, items iter.Seq2[*number, error], err error) func() (*number, error, bool) {
	t.Helper()
	if err != nil || items == nil {
		t.Fatalf("the stream did not open: %v", err)
	}
	next, stop := iter.Pull2(items)
	t.Cleanup(stop)
	return next
}

func TestStream(t *testing.T) {
	t.Parallel()
	service := counter(count)
	s := serveStreams(t, grpcapi.Config{}, service)
	c := streamClient(t, s, service, grpcapi.ClientConfig{})
	for _, n := range []int64{0, 1, 1000} {
		items, err := open(t.Context(), c, n)
		values, err := all(t, items, err)
		if err != nil || int64(len(values)) != n {
			t.Errorf("%d of %d items, %v", len(values), n, err)
		}
		for i, v := range values {
			if v != int64(i)+1 {
				t.Fatalf("item %d is %d", i, v)
			}
		}
	}
}

// The header arrives before the first item.
func TestStreamOpensAtOnce(t *testing.T) {
	t.Parallel()
	service := counter(func(ctx context.Context, _ *countRequest) (iter.Seq2[*number, error], error) {
		chassi.CallFrom(ctx).Out.Set("X-Kind", "numbers")
		return func(func(*number, error) bool) { <-ctx.Done() }, nil
	})
	s := serveStreams(t, grpcapi.Config{}, service)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if items, err := open(ctx, streamClient(t, s, service, grpcapi.ClientConfig{}), 0); items == nil || err != nil {
		t.Errorf("no stream: %v", err)
	}
	stream := newStream(t, dial(t, s), grpc.ForceCodec(rawCodec{}))
	if header, err := stream.Header(); err != nil || len(header.Get("x-kind")) != 1 {
		t.Errorf("%v, %v", header, err)
	}
}

func newStream(t testing.TB, conn *grpc.ClientConn, options ...grpc.CallOption) grpc.ClientStream {
	t.Helper()
	stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, countPath, options...)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SendMsg(new(bytesMessage)); err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	return stream
}

// A stream that does not open has no header, so that its error is that of the call.
func TestStreamThatDoesNotOpen(t *testing.T) {
	t.Parallel()
	notFound := chassi.NewError(chassi.NotFound, "no_such_counter", "There is no such counter").WithRetryAfter(time.Minute)
	for name, end := range map[string]error{"nothing": nil, "an error": notFound} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			service := counter(func(ctx context.Context, _ *countRequest) (iter.Seq2[*number, error], error) {
				chassi.CallFrom(ctx).Out.Set("X-Kind", "none")
				return nil, end
			})
			s := serveStreams(t, grpcapi.Config{}, service, middleware.Recover())
			items, err := open(t.Context(), streamClient(t, s, service, grpcapi.ClientConfig{}), 0)
			if items != nil || !errors.Is(err, end) {
				t.Errorf("iterator %v, %v", items != nil, err)
			}
			if end != nil && (chassi.ErrorOf(err).Reason != notFound.Reason || chassi.ErrorOf(err).RetryAfter != time.Minute) {
				t.Errorf("%+v", chassi.ErrorOf(err))
			}
			stream := newStream(t, dial(t, s), grpc.ForceCodec(rawCodec{}))
			err = stream.RecvMsg(new(bytesMessage))
			if header, _ := stream.Header(); header != nil || len(stream.Trailer().Get("x-kind")) != 1 || len(stream.Trailer().Get("x-request-id")) != 1 {
				t.Errorf("header %v, trailer %v", header, stream.Trailer())
			}
			if end == nil && !errors.Is(err, io.EOF) || end != nil && status.Code(err) != codes.NotFound {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

// The metadata of a call that did not open does not displace its status.
func TestMetadataOfAStreamThatDoesNotOpen(t *testing.T) {
	t.Parallel()
	service := counter(func(ctx context.Context, _ *countRequest) (iter.Seq2[*number, error], error) {
		chassi.CallFrom(ctx).Out.Set("X-Large", strings.Repeat("x", 20<<10))
		return nil, chassi.NewError(chassi.NotFound, "none", "None")
	})
	s := serveStreams(t, grpcapi.Config{}, service)
	stream := newStream(t, dial(t, s, grpc.WithMaxHeaderListSize(8<<10)), grpc.ForceCodec(rawCodec{}))
	if err := stream.RecvMsg(new(bytesMessage)); status.Code(err) != codes.NotFound {
		t.Error(err)
	}
}

// What ends a stream early reaches the client with code, reason, delay and details, and a server
// and its client agree that it is no normal end.
func TestStreamEndsWithAnError(t *testing.T) {
	t.Parallel()
	var logged atomic.Int64
	for name, c := range map[string]struct {
		end  func(yield func(*number, error) bool)
		want *chassi.Error
	}{
		"an error": {
			func(yield func(*number, error) bool) {
				yield(nil, chassi.NewError(chassi.ResourceExhausted, "worn_out", "No more").WithRetryAfter(time.Second).WithDetails(reading{Text: "hot"}))
			},
			&chassi.Error{Code: chassi.ResourceExhausted, Reason: "worn_out", Message: "No more", RetryAfter: time.Second},
		},
		"an error without a reason of its own": {
			func(yield func(*number, error) bool) {
				yield(nil, chassi.NewError(chassi.Unavailable, "unavailable", "Later"))
			},
			&chassi.Error{Code: chassi.Unavailable, Reason: "unavailable", Message: "Later"},
		},
		"any error": {
			func(yield func(*number, error) bool) { yield(nil, errors.New("secret")) },
			&chassi.Error{Code: chassi.Internal, Reason: "internal", Message: chassi.ErrorOf(errors.New("secret")).Message},
		},
		"a panic": {
			func(func(*number, error) bool) { panic("secret") },
			&chassi.Error{Code: chassi.Internal, Reason: "internal", Message: chassi.ErrorOf(errors.New("secret")).Message},
		},
		"no item": {
			func(yield func(*number, error) bool) { yield(nil, nil) },
			&chassi.Error{Code: chassi.Internal, Reason: "internal", Message: chassi.ErrorOf(errors.New("secret")).Message},
		},
		"an item that is too large": {
			func(yield func(*number, error) bool) { yield(&number{Fill: strings.Repeat("x", 2000)}, nil) },
			&chassi.Error{Code: chassi.ResourceExhausted, Reason: "item_too_large", Message: "An item of the stream is too large"},
		},
		"an item that cannot be encoded": {
			func(yield func(*number, error) bool) { yield(&number{Fill: "\xff"}, nil) },
			&chassi.Error{Code: chassi.Internal, Reason: "internal", Message: chassi.ErrorOf(errors.New("secret")).Message},
		},
	} {
		for _, recovers := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " recover=", recovers), func(t *testing.T) {
				t.Parallel()
				service := counter(func(context.Context, *countRequest) (iter.Seq2[*number, error], error) {
					return func(yield func(*number, error) bool) {
						if yield(&number{Value: 1}, nil) && yield(&number{Value: 2}, nil) {
							c.end(yield)
						}
					}, nil
				})
				var stack []chassi.Middleware
				if recovers {
					stack = append(stack, middleware.Logging(slog.New(panics{&logged})), middleware.Recover())
				}
				s := serveStreams(t, grpcapi.Config{Streams: transport.StreamConfig{MaxItemBytes: 1000}}, service, stack...)
				items, err := open(t.Context(), streamClient(t, s, service, grpcapi.ClientConfig{}), 0)
				values, err := all(t, items, err)
				e := chassi.ErrorOf(err)
				if len(values) != 2 || e.Code != c.want.Code || e.Reason != c.want.Reason || e.Message != c.want.Message || e.RetryAfter != c.want.RetryAfter {
					t.Errorf("%d items, %+v", len(values), e)
				}
				if d, ok := chassi.DetailOf[reading](err); name == "an error" && (!ok || d.Text != "hot") {
					t.Errorf("detail %+v", d)
				}
			})
		}
	}
	t.Cleanup(func() {
		if n := logged.Load(); n != 1 {
			t.Errorf("the panic was logged %d times", n)
		}
	})
}

// panics counts log lines that have the stack of a panic.
type panics struct{ n *atomic.Int64 }

func (panics) Enabled(context.Context, slog.Level) bool { return true }
func (p panics) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "stack" {
			p.n.Add(1)
		}
		return true
	})
	return nil
}
func (p panics) WithAttrs([]slog.Attr) slog.Handler { return p }
func (p panics) WithGroup(string) slog.Handler      { return p }

// The rules for the request are those of a unary method.
func TestStreamTakesOneMessage(t *testing.T) {
	t.Parallel()
	service := counter(count)
	s := serveStreams(t, grpcapi.Config{MaxMessageBytes: 1000}, service)
	conn := dial(t, s)
	for name, c := range map[string]struct {
		messages []bytesMessage
		want     codes.Code
	}{
		"none": {nil, codes.Unimplemented}, "one": {[]bytesMessage{{8, 1}}, codes.OK}, "malformed": {[]bytesMessage{{8}}, codes.InvalidArgument},
		"two": {[]bytesMessage{{8, 1}, {8, 1}}, codes.Unimplemented}, "large": {[]bytesMessage{make(bytesMessage, 2000)}, codes.ResourceExhausted},
	} {
		stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, countPath, grpc.ForceCodec(rawCodec{}))
		if err != nil {
			t.Fatal(err)
		}
		for i := range c.messages {
			_ = stream.SendMsg(&c.messages[i]) // the server may have responded already
		}
		_ = stream.CloseSend()
		for err == nil {
			err = stream.RecvMsg(new(bytesMessage))
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		if status.Code(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A client that leaves ends the context and the loop of the service.
func TestClientLeavesAStream(t *testing.T) {
	t.Parallel()
	ends := make(chan error, 1)
	service := counter(func(ctx context.Context, _ *countRequest) (iter.Seq2[*number, error], error) {
		return func(yield func(*number, error) bool) {
			for yield(&number{}, nil) {
			}
			<-ctx.Done()
			ends <- context.Cause(ctx)
		}, nil
	})
	s := serveStreams(t, grpcapi.Config{MaxResets: 3}, service)
	c := streamClient(t, s, service, grpcapi.ClientConfig{})
	for i := range 10 { // more than it may reset of other calls
		items, err := open(t.Context(), c, 0)
		if err != nil {
			t.Fatal(i, err)
		}
		for range items {
			break
		}
		if err := receive(t, ends); !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	next := pull(t, first(open(ctx, c, 0)), nil)
	if _, err, _ := next(); err != nil {
		t.Fatal(err)
	}
	cancel()
	var err error
	for err == nil {
		_, err, _ = next()
	}
	if chassi.ErrorOf(err).Code != chassi.Canceled {
		t.Error(err)
	}
	_ = receive(t, ends)
}

func first(items iter.Seq2[*number, error], _ error) iter.Seq2[*number, error] { return items }

func receive[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(30 * time.Second):
		t.Fatal("nothing came within 30 s")
		panic("unreachable")
	}
}

// A stream without items outlives the limits of calls and of connections; its own age ends it.
func TestStreamOutlivesCallsAndConnections(t *testing.T) {
	t.Parallel()
	service := counter(idle)
	config := grpcapi.Config{
		CallTimeout: 50 * time.Millisecond, MaxConnectionAge: time.Second,
		Streams: transport.StreamConfig{MaxAge: 4 * time.Second},
	}
	s := serveStreams(t, config, service, middleware.Timeout(100*time.Millisecond))
	c := streamClient(t, s, service, grpcapi.ClientConfig{Timeout: 5 * time.Second})
	began := time.Now()
	items, err := open(t.Context(), c, 0)
	values, err := all(t, items, err)
	e := chassi.ErrorOf(err)
	if len(values) != 1 || e.Code != chassi.Unavailable || e.Reason != "stream_expired" || e.RetryAfter <= 0 {
		t.Errorf("%d items, %+v", len(values), e)
	}
	if age := time.Since(began); age < 3*time.Second {
		t.Errorf("ended after %v", age)
	}
}

// A call that sends no message ends like that of a unary method.
func TestStreamWithoutAMessageEnds(t *testing.T) {
	t.Parallel()
	s := serveStreams(t, grpcapi.Config{CallTimeout: 50 * time.Millisecond}, counter(count))
	stream, err := dial(t, s).NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, countPath, grpc.ForceCodec(rawCodec{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(new(bytesMessage)); status.Code(err) != codes.DeadlineExceeded {
		t.Error(err)
	}
}

// A method that does not return has the time of a call to open its stream.
func TestOpeningIsACall(t *testing.T) {
	t.Parallel()
	service := counter(func(ctx context.Context, _ *countRequest) (iter.Seq2[*number, error], error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	s := serveStreams(t, grpcapi.Config{CallTimeout: 50 * time.Millisecond}, service)
	if _, err := open(t.Context(), streamClient(t, s, service, grpcapi.ClientConfig{}), 0); chassi.ErrorOf(err).Code != chassi.DeadlineExceeded {
		t.Errorf("at the server: %v", err)
	}
	slow := serveStreams(t, grpcapi.Config{}, service)
	c := streamClient(t, slow, service, grpcapi.ClientConfig{Timeout: 50 * time.Millisecond})
	if _, err := open(t.Context(), c, 0); chassi.ErrorOf(err).Code != chassi.DeadlineExceeded {
		t.Errorf("at the client: %v", err)
	}
}

// The deadline of a client is that of the whole stream.
func TestDeadlineOfAStream(t *testing.T) {
	t.Parallel()
	ends := make(chan error, 1)
	service := counter(func(ctx context.Context, _ *countRequest) (iter.Seq2[*number, error], error) {
		return func(func(*number, error) bool) {
			<-ctx.Done()
			ends <- ctx.Err()
		}, nil
	})
	s := serveStreams(t, grpcapi.Config{}, service)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	items, err := open(ctx, streamClient(t, s, service, grpcapi.ClientConfig{}), 0)
	if _, err = all(t, items, err); chassi.ErrorOf(err).Code != chassi.DeadlineExceeded {
		t.Error(err)
	}
	_ = receive(t, ends)
}

func TestCredentialsOfAStreamExpire(t *testing.T) {
	t.Parallel()
	service := counter(idle)
	signedIn := func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			call.Principal = &chassi.Principal{Subject: "ada", Scheme: "bearer", ExpiresAt: time.Now().Add(200 * time.Millisecond)}
			return next(ctx, call)
		}
	}
	s := serveStreams(t, grpcapi.Config{}, service, signedIn)
	items, err := open(t.Context(), streamClient(t, s, service, grpcapi.ClientConfig{}), 0)
	values, err := all(t, items, err)
	if e := chassi.ErrorOf(err); len(values) != 1 || e.Code != chassi.Unauthenticated || e.Reason != "token_expired" {
		t.Errorf("%d items, %+v", len(values), e)
	}
}

// The limit of open streams of one client is another than that of its calls.
func TestStreamsOfOneClientAreLimited(t *testing.T) {
	t.Parallel()
	service := chassi.NewService("count.v1.Counter", chassi.NewStream("Count", idle, chassi.Public),
		chassi.NewEndpoint("Greet", func(context.Context, *greetRequest) (*greeting, error) { return &greeting{}, nil }, chassi.Public))
	s := serveStreams(t, grpcapi.Config{MaxStreams: 2, MaxStreamsPerClient: 2, Streams: transport.StreamConfig{MaxPeer: 5}}, service)
	c := streamClient(t, s, service, grpcapi.ClientConfig{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 5 {
		next := pull(t, first(open(ctx, c, 0)), nil)
		if _, err, _ := next(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := open(ctx, c, 0)
	if e := chassi.ErrorOf(err); e.Code != chassi.ResourceExhausted || e.Reason != "too_many_streams" {
		t.Errorf("one too many: %+v", e)
	}
	if _, err := client.Invoke[greeting](ctx, c, "Greet", &greetRequest{}); err != nil {
		t.Errorf("a call beside the streams: %v", err)
	}
	cancel()
	h2test.Until(t, 30*time.Second, func() bool {
		items, err := open(t.Context(), c, 0)
		if err != nil {
			return false
		}
		for range items {
			break
		}
		return true
	}, "streams that have ended are counted")
}

// Subscriptions end when the server stops, with a delay for the next attempt; finite streams end
// by themselves.
func TestStreamsWhenTheServerStops(t *testing.T) {
	t.Parallel()
	stopping := make(chan struct{})
	service := chassi.NewService("count.v1.Counter", chassi.NewStream("Count", idle, chassi.Public),
		chassi.NewStream("Export", func(ctx context.Context, _ *countRequest) (iter.Seq2[*number, error], error) {
			return func(yield func(*number, error) bool) {
				if !yield(&number{Value: 1}, nil) {
					return
				}
				select {
				case <-stopping:
					yield(&number{Value: 2}, nil)
				case <-ctx.Done():
				}
			}, nil
		}, chassi.Public, chassi.Finite))
	s := start(t, grpcapi.Config{}, nil, service)
	c := streamClient(t, s, service, grpcapi.ClientConfig{})
	subscription := pull(t, first(open(t.Context(), c, 0)), nil)
	items, err := client.Stream[number](t.Context(), c, "Export", &countRequest{})
	export := pull(t, items, err)
	for _, next := range []func() (*number, error, bool){subscription, export} {
		if _, err, _ := next(); err != nil {
			t.Fatal(err)
		}
	}
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(context.WithoutCancel(t.Context())) }()
	_, err, _ = subscription()
	if e := chassi.ErrorOf(err); e.Code != chassi.Unavailable || e.Reason != "stopping" || e.RetryAfter < time.Second {
		t.Errorf("the subscription: %+v", e)
	}
	close(stopping)
	if item, err, ok := export(); !ok || err != nil || item.Value != 2 {
		t.Errorf("the finite stream: %v, %v", item, err)
	}
	if _, err, ok := export(); ok {
		t.Errorf("the end of the finite stream: %v", err)
	}
	if err := receive(t, stopped); err != nil {
		t.Error(err)
	}
}

// cut is a proxy whose connections the test ends, or lets fall silent.
type cut struct {
	net.Listener

	mu    sync.Mutex
	conns []net.Conn
}

func cutBefore(t *testing.T, s *grpcapi.Server) *cut {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &cut{Listener: l}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := new(net.Dialer).DialContext(context.Background(), "tcp", s.Addr().String())
			if err != nil {
				near.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, near, far)
			p.mu.Unlock()
			wg.Go(func() { io.Copy(near, far) })
			wg.Go(func() { io.Copy(far, near) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.all()
		wg.Wait()
	})
	return p
}

// all ends all connections.
func (p *cut) all() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		c.Close()
	}
	p.conns = nil
}

// However a connection ends, its streams do not end normally.
func TestStreamThatBreaksOff(t *testing.T) {
	t.Parallel()
	service := counter(idle)
	s := serveStreams(t, grpcapi.Config{}, service)
	t.Run("the connection ends", func(t *testing.T) {
		t.Parallel()
		p := cutBefore(t, s)
		caller, err := grpcapi.Dial(grpcapi.ClientConfig{Target: p.Addr().String()})
		if err != nil {
			t.Fatal(err)
		}
		defer caller.Close()
		c, err := client.New(service, caller)
		if err != nil {
			t.Fatal(err)
		}
		next := pull(t, first(open(t.Context(), c, 0)), nil)
		if _, err, _ := next(); err != nil {
			t.Fatal(err)
		}
		p.all()
		if _, err, ok := next(); !ok || !errors.Is(err, transport.ErrTruncated) {
			t.Errorf("ended with %v", err)
		}
	})
	t.Run("the server gives up", func(t *testing.T) {
		t.Parallel()
		stuck := make(chan struct{})
		service := counter(func(context.Context, *countRequest) (iter.Seq2[*number, error], error) {
			return func(yield func(*number, error) bool) {
				yield(&number{}, nil)
				<-stuck
			}, nil
		}, chassi.Finite)
		s := start(t, grpcapi.Config{}, nil, service)
		next := pull(t, first(open(t.Context(), streamClient(t, s, service, grpcapi.ClientConfig{}), 0)), nil)
		if _, err, _ := next(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Stop(ctx); err == nil || !strings.Contains(err.Error(), "count.v1.Counter/Count") {
			t.Errorf("stopped with %v", err)
		}
		if _, err, ok := next(); !ok || !errors.Is(err, transport.ErrTruncated) {
			t.Errorf("ended with %v", err)
		}
		close(stuck)
	})
}

// An end without a status is no normal end: what other servers and proxies do to streams.
func TestStreamsOfHostileServers(t *testing.T) {
	t.Parallel()
	header := []byte{0x88, 0x5f, 0x8b, 0x1d, 0x75, 0xd0, 0x62, 0x0d, 0x26, 0x3d, 0x4c, 0x4d, 0x65, 0x64} // :status 200, content-type application/grpc
	item := []byte{0, 0, 0, 0, 2, 8, 1}
	for name, end := range map[string]func(f *http2.Framer, id uint32, c net.Conn){
		"the end of the data":     func(f *http2.Framer, id uint32, _ net.Conn) { f.WriteData(id, true, nil) },
		"half an item":            func(f *http2.Framer, id uint32, _ net.Conn) { f.WriteData(id, true, item[:6]) },
		"half an item and a loss": func(f *http2.Framer, id uint32, c net.Conn) { f.WriteData(id, false, item[:6]); c.Close() },
		"a reset":                 func(f *http2.Framer, id uint32, _ net.Conn) { f.WriteRSTStream(id, http2.ErrCodeNo) },
		"a cancellation":          func(f *http2.Framer, id uint32, _ net.Conn) { f.WriteRSTStream(id, http2.ErrCodeCancel) },
		"a refusal":               func(f *http2.Framer, id uint32, _ net.Conn) { f.WriteRSTStream(id, http2.ErrCodeRefusedStream) },
		"a loss":                  func(_ *http2.Framer, _ uint32, c net.Conn) { c.Close() },
		"a GOAWAY": func(f *http2.Framer, _ uint32, c net.Conn) {
			f.WriteGoAway(0, http2.ErrCodeInternal, nil)
			c.Close()
		},
		"a header": func(f *http2.Framer, id uint32, _ net.Conn) {
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: header, EndHeaders: true, EndStream: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := h2Server(t, func(f *http2.Framer, id uint32, c net.Conn) {
				f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: header, EndHeaders: true})
				f.WriteData(id, false, item)
				end(f, id, c)
			})
			caller, err := grpcapi.Dial(grpcapi.ClientConfig{Target: addr})
			if err != nil {
				t.Fatal(err)
			}
			defer caller.Close()
			c, err := client.New(counter(count), caller)
			if err != nil {
				t.Fatal(err)
			}
			items, err := open(t.Context(), c, 1)
			values, err := all(t, items, err)
			if e := chassi.ErrorOf(err); err == nil || name != "a header" && e.Code != chassi.Unavailable {
				t.Errorf("%d items, %v", len(values), err)
			}
		})
	}
}

// h2Server answers the first call of each connection with response.
func h2Server(t *testing.T, response func(f *http2.Framer, id uint32, c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_, _ = io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
				f := http2.NewFramer(c, c)
				f.WriteSettings()
				for {
					frame, err := f.ReadFrame()
					if err != nil {
						return
					}
					switch frame := frame.(type) {
					case *http2.SettingsFrame:
						if !frame.IsAck() {
							f.WriteSettingsAck()
						}
					case *http2.DataFrame:
						if frame.StreamEnded() {
							response(f, frame.StreamID, c)
						}
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

// A client that stops to read loses its stream, and what was queued for it is freed: its
// connection and its other calls are not affected.
func TestClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	for _, overTLS := range []bool{false, true} {
		for name, fill := range map[string]int{"small items": 10, "large items": 100 << 10} {
			t.Run(fmt.Sprint(name, " TLS=", overTLS), func(t *testing.T) {
				t.Parallel()
				stalls(t, overTLS, strings.Repeat("x", fill))
			})
		}
	}
}

func stalls(t *testing.T, overTLS bool, fill string) {
	t.Helper()
	causes := make(chan error, 1)
	var sent, stalled atomic.Int64
	service := counter(func(ctx context.Context, _ *countRequest) (iter.Seq2[*number, error], error) {
		return func(yield func(*number, error) bool) {
			for yield(&number{Value: 1, Fill: fill}, nil) {
				sent.Add(1)
			}
			causes <- context.Cause(ctx)
		}, nil
	})
	observe := func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			err := next(ctx, call)
			if errors.Is(err, transport.ErrStalled) {
				stalled.Add(1)
			}
			return err
		}
	}
	s := serveTargetOf(t, grpcapi.Config{Streams: transport.StreamConfig{SendTimeout: 300 * time.Millisecond, MaxPeer: 1}}, overTLS, service, observe)
	a := attack(t, s, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100})
	id, err := a.call(countPath, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Out.Flush(); err != nil {
		t.Fatal(err)
	}
	if cause := receive(t, causes); !errors.Is(cause, transport.ErrStalled) {
		t.Errorf("the context ended with %v", cause)
	}
	if n := sent.Load(); n > 70 {
		t.Errorf("%d items were sent", n)
	}
	for { // what was queued is not sent later: the stream is reset
		frame, err := a.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if reset, ok := frame.(*http2.RSTStreamFrame); ok && reset.StreamID == id {
			break
		}
	}
	if !a.Answered(t) {
		t.Error("the connection was closed")
	}
	h2test.Until(t, 30*time.Second, func() bool { return stalled.Load() == 1 }, "the stream has another error")
	if _, err := a.call(countPath, true); err != nil || a.Out.Flush() != nil { // the first one is no longer counted
		t.Fatal(err)
	}
	if cause := receive(t, causes); !errors.Is(cause, transport.ErrStalled) {
		t.Errorf("the second one ended with %v", cause)
	}
	a.Conn.Close()
}

// A client that reads slowly keeps its stream.
func TestClientThatReadsSlowly(t *testing.T) {
	t.Parallel()
	fill := strings.Repeat("x", 500)
	service := counter(func(_ context.Context, r *countRequest) (iter.Seq2[*number, error], error) {
		return func(yield func(*number, error) bool) {
			for i := range r.To {
				if !yield(&number{Value: i, Fill: fill}, nil) {
					return
				}
			}
		}, nil
	})
	s := serveTargetOf(t, grpcapi.Config{Streams: transport.StreamConfig{SendTimeout: 2 * time.Second}}, false, service)
	a := attack(t, s, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000})
	id, err := a.Begin(false, [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":authority", "x"}, {":path", countPath}, {"content-type", "application/grpc"}, {"te", "trailers"},
	}...)
	if err != nil {
		t.Fatal(err)
	}
	if a.WriteData(id, true, []byte{0, 0, 0, 0, 2, 8, 70}) != nil || a.Out.Flush() != nil {
		t.Fatal("the request was not sent")
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // grants an item at a time: half a queue takes longer than a send may
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if a.WriteWindowUpdate(id, 520) != nil || a.WriteWindowUpdate(0, 520) != nil || a.Out.Flush() != nil {
					return
				}
			case <-stop:
				return
			}
		}
	})
	defer wg.Wait()
	defer close(stop)
	size := 0
	for {
		frame, err := a.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch frame := frame.(type) {
		case *http2.DataFrame:
			size += len(frame.Data())
		case *http2.RSTStreamFrame:
			t.Fatalf("reset after %d bytes: %v", size, frame.ErrCode)
		case *http2.HeadersFrame:
			if frame.StreamEnded() {
				if size < 70*500 {
					t.Errorf("%d bytes", size)
				}
				return
			}
		}
	}
}

// A generated client, with compression, reads a stream, and a mid-stream error has its details.
func TestStreamByReflection(t *testing.T) {
	t.Parallel()
	service := counter(func(ctx context.Context, r *countRequest) (iter.Seq2[*number, error], error) {
		items, _ := count(ctx, r)
		return func(yield func(*number, error) bool) {
			for item := range items {
				if !yield(item, nil) {
					return
				}
			}
			yield(nil, chassi.NewError(chassi.Aborted, "counted", "Enough").WithRetryAfter(time.Second))
		}, nil
	})
	s := serveStreams(t, grpcapi.Config{}, service)
	conn := dial(t, s)
	file := describedBy(t, conn, "count.v1.Counter")
	method := file.Services().Get(0).Methods().Get(0)
	if !method.IsStreamingServer() || method.IsStreamingClient() {
		t.Error("not described as a stream of items")
	}
	stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, countPath, grpc.UseCompressor(gzip.Name))
	if err != nil {
		t.Fatal(err)
	}
	request := dynamicpb.NewMessage(method.Input())
	request.Set(method.Input().Fields().ByName("to"), protoreflect.ValueOfInt64(3))
	if err := stream.SendMsg(request); err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for want := range int64(3) {
		item := dynamicpb.NewMessage(method.Output())
		if err := stream.RecvMsg(item); err != nil {
			t.Fatal(err)
		}
		if got := item.Get(method.Output().Fields().ByName("value")).Int(); got != want+1 {
			t.Errorf("item %d is %d", want+1, got)
		}
	}
	end := status.Convert(stream.RecvMsg(dynamicpb.NewMessage(method.Output())))
	var reason, delay string
	for _, d := range end.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			reason = d.GetReason()
		case *errdetails.RetryInfo:
			delay = d.GetRetryDelay().AsDuration().String()
		}
	}
	if end.Code() != codes.Aborted || end.Message() != "Enough" || reason != "counted" || delay != "1s" {
		t.Errorf("ended with %v", end.Proto())
	}
}

// describedBy returns the file of a service, as reflection describes it.
func describedBy(t *testing.T, conn *grpc.ClientConn, service string) protoreflect.FileDescriptor {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: service},
	}); err != nil {
		t.Fatal(err)
	}
	response, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	described := new(descriptorpb.FileDescriptorProto)
	if err := proto.Unmarshal(response.GetFileDescriptorResponse().GetFileDescriptorProto()[0], described); err != nil {
		t.Fatal(err)
	}
	file, err := protodesc.NewFile(described, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// BenchmarkStream measures an item of a stream, beside one of grpc-go with the same client.
func BenchmarkStream(b *testing.B) {
	service := counter(count)
	s := serveStreams(b, grpcapi.Config{}, service)
	plan, err := protobuf.PlanOf(reflect.TypeFor[countRequest]())
	if err != nil {
		b.Fatal(err)
	}
	body, err := plan.Append(nil, &countRequest{To: int64(b.N)})
	if err != nil {
		b.Fatal(err)
	}
	stream, err := dial(b, s).NewStream(b.Context(), &grpc.StreamDesc{ServerStreams: true}, countPath, grpc.ForceCodec(rawCodec{}))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	if err := stream.SendMsg((*bytesMessage)(&body)); err != nil || stream.CloseSend() != nil {
		b.Fatal(err)
	}
	n := 0
	for ; stream.RecvMsg(new(bytesMessage)) == nil; n++ {
	}
	if n != b.N {
		b.Errorf("%d items of %d", n, b.N)
	}
}

// serveTargetOf serves one service to attackers.
func serveTargetOf(t *testing.T, c grpcapi.Config, overTLS bool, service *chassi.Service, middleware ...chassi.Middleware) *target {
	t.Helper()
	s := new(target)
	if overTLS {
		issued := certtest.Issue(t, "server", nil, time.Now().Add(time.Hour))
		c.TLS.CertFile, c.TLS.KeyFile = install(t, issued)
		s.tls = &tls.Config{RootCAs: issued.Pool(), NextProtos: []string{"h2"}, ServerName: "127.0.0.1"}
	}
	s.Server = serveStreams(t, c, service, middleware...)
	return s
}
