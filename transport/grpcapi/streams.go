package grpcapi

import (
	"context"
	"fmt"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/ratelimit"
	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/tap"
)

// streams limits the number of open HTTP/2 streams of each client over all of its connections. An
// HTTP/2 stream is counted from the arrival of its metadata to the return of its handler or, if the
// response is a stream, to the admission of the response. Health watches and calls whose message
// has not arrived yet are included. The limit bounds the memory for the messages of one client,
// because grpc-go reads each message as a whole.
type streams struct {
	max    int64
	open   *ratelimit.Usage
	refuse error
}

func newStreams(limit int) *streams {
	e := chassi.NewError(chassi.ResourceExhausted, "too_many_streams", fmt.Sprintf("More than %d calls of one client at once", limit)).
		WithRetryAfter(time.Second)
	return &streams{max: int64(limit), open: ratelimit.NewUsage(), refuse: statusOf("", e).Err()}
}

// counted returns a handler that counts the stream while h runs, and refuses the stream if its
// client has too many open streams. grpc-go calls a handler once the metadata has arrived. Because
// the handler reads the messages, no message of a refused call is read.
//
// A tap would run earlier, but grpc-go does not cancel the context of a call that the tap refuses.
// A context with a deadline would stay in memory until the deadline, even after the connection is
// closed.
func (s *Server) counted(h grpc.StreamHandler) grpc.StreamHandler {
	return func(impl any, stream grpc.ServerStream) error {
		client, _ := s.clientOf(stream.Context())
		if !client.IsValid() {
			return h(impl, stream)
		}
		key := ratelimit.AddrKey(client.Addr())
		if !s.streams.open.Acquire(key, 1, s.streams.max) {
			return s.streams.refuse
		}
		defer s.streams.open.Release(key, 1)
		return h(impl, stream)
	}
}

// registrar registers services with grpc-go so that their calls are counted. It registers unary
// methods as streams with one message, because grpc-go calls the interceptors of a unary call only
// after it has read the message.
type registrar struct{ server *Server }

var _ grpc.ServiceRegistrar = registrar{}

// RegisterService implements [grpc.ServiceRegistrar]. It registers desc with handlers that count
// their calls.
func (r registrar) RegisterService(desc *grpc.ServiceDesc, impl any) {
	counted := *desc
	counted.Methods, counted.Streams = nil, nil
	for _, m := range desc.Methods {
		counted.Streams = append(counted.Streams, grpc.StreamDesc{StreamName: m.MethodName, Handler: r.server.counted(unary(m))})
	}
	for _, m := range desc.Streams {
		m.Handler = r.server.counted(m.Handler)
		counted.Streams = append(counted.Streams, m)
	}
	r.server.grpc.RegisterService(&counted, impl)
}

func unary(m grpc.MethodDesc) grpc.StreamHandler {
	return func(impl any, stream grpc.ServerStream) error {
		response, err := m.Handler(impl, stream.Context(), stream.RecvMsg, nil)
		if err != nil {
			return err
		}
		return stream.SendMsg(response)
	}
}

// streamContext is the context of a call whose response is a stream. CallTimeout cancels the
// context only if the stream does not open in time.
type streamContext struct {
	context.Context //nolint:containedctx // it is a context

	end context.CancelCauseFunc
}

type streamContextKey struct{}

// Value returns c for the key streamContextKey, and the embedded context's value for other keys.
func (c *streamContext) Value(key any) any {
	if key == (streamContextKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// Err returns [context.DeadlineExceeded] if that error is the [context.Cause] of the embedded
// context, and the error of the embedded context otherwise. If the message does not arrive, grpc-go
// sends the status that corresponds to the result of Err.
func (c *streamContext) Err() error {
	err := c.Context.Err()
	if err != nil && context.Cause(c.Context) == context.DeadlineExceeded { //nolint:errorlint // our own
		return context.DeadlineExceeded
	}
	return err
}

// limitCall is the tap of grpc-go. It returns a context with a deadline at most CallTimeout after
// the call began, which limits the time to wait for the message and for flow control of the
// response. Health watches have no timeout. The context of a stream has no timeout either, because
// serveStream ends a stream that does not open in time. [Server.counted] states why limitCall
// refuses no calls.
func (s *Server) limitCall(ctx context.Context, call *tap.Info) (context.Context, error) {
	if call.FullMethodName == healthpb.Health_Watch_FullMethodName {
		return ctx, nil
	}
	if s.isStream[call.FullMethodName] {
		ctx, end := context.WithCancelCause(ctx)
		return &streamContext{ctx, end}, nil
	}
	limit := time.Now().Add(s.config.CallTimeout)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(limit) {
		return ctx, nil
	}
	ctx, cancel := context.WithDeadline(ctx, limit) //nolint:gosec // grpc-go ends the context around it with the call, and this one with it
	_ = cancel
	return ctx, nil
}
