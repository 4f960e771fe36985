package grpcapi

import (
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/protobuf"
	"github.com/chassi-go/chassi/transport"
)

// BindStream implements [client.Streamer]. It returns an error if e cannot be called over gRPC, for
// example because a message has no Protocol Buffers encoding. Pings detect a dead connection of a
// stream; their interval is [ClientConfig].PingInterval.
func (c *Client) BindStream(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error) {
	b, path, p, err := bind(e)
	return b, func(ctx context.Context, call *chassi.Call) error { return c.stream(ctx, call, path, p) }, err
}

// receivedItem is the destination into which the codec decodes an item of a stream.
type receivedItem struct {
	plan *protobuf.Plan
	item any
	size int
}

var streamDesc = grpc.StreamDesc{ServerStreams: true}

// stream makes one call whose response is a stream, and passes the items to call.Stream. It returns
// nil if the stream is complete, a [chassi.Canceled] error if call.Stream accepts no further items,
// and the error of the stream otherwise. The stream is open once a header has arrived. If the call
// fails before that, or if the method has nothing to send, the response consists of trailers only.
func (c *Client) stream(ctx context.Context, call *chassi.Call, path string, p *plans) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	ctx, body, err := request(ctx, call, p)
	if err != nil {
		return err
	}
	if _, ok := ctx.Deadline(); !ok {
		timer := time.AfterFunc(c.config.Timeout, func() { end(context.DeadlineExceeded) })
		defer timer.Stop()
		call.Stream.OnOpen(func() { timer.Stop() })
	}
	s, header, err := c.open(ctx, path, body)
	if err != nil {
		return streamFailure(ctx, err, nil, nil)
	}
	if header != nil {
		setOut(call, header)
		call.Stream.Open()
	}
	for {
		item := &receivedItem{plan: p.response, item: reflect.New(call.Endpoint.ResponseType()).Interface()}
		err := s.RecvMsg(item)
		if header == nil {
			setOut(call, s.Trailer())
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return streamFailure(ctx, err, header, s.Trailer())
		case !call.Stream.Received(ctx, item.item, item.size):
			return chassi.ErrorOf(context.Canceled)
		}
	}
}

// open sends the request, waits for the header, and returns the stream and the header. The header
// is nil if the call has ended without one.
func (c *Client) open(ctx context.Context, path string, body []byte) (grpc.ClientStream, metadata.MD, error) {
	s, err := c.conn.NewStream(ctx, &streamDesc, path)
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // converted by the caller
	}
	// On io.EOF the call has ended, and receiving returns its error.
	if err := s.SendMsg(&outgoing{body: body}); err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err //nolint:wrapcheck // converted by the caller
	}
	if err := s.CloseSend(); err != nil {
		return nil, nil, err //nolint:wrapcheck // converted by the caller
	}
	header, err := s.Header()
	return s, header, err //nolint:wrapcheck // converted by the caller
}

// streamFailure converts err, an error of grpc-go, to the error of a stream. The header is nil if
// the stream did not open.
func streamFailure(ctx context.Context, err error, header, trailer metadata.MD) error {
	if cause := context.Cause(ctx); cause != nil {
		return chassi.ErrorOf(cause).WithCause(err)
	}
	if _, limited := ctx.Deadline(); limited && status.Code(err) == codes.DeadlineExceeded {
		return failure(ctx, err, header) // the server noticed the deadline first
	}
	if header != nil && len(trailer) == 0 && brokeOff(err) {
		return transport.ErrTruncated.WithCause(err)
	}
	return failure(ctx, err, header)
}

// brokeOff reports whether err, the error of a stream without trailers, means that the stream has
// ended without a status from the server. The servers of this package send a trailer with each
// error of an open stream. For other servers, the only indications are the code of a lost
// connection and the error message of grpc-go.
func brokeOff(err error) bool {
	s := status.Convert(err)
	if len(s.Proto().GetDetails()) > 0 {
		return false
	}
	return s.Code() == codes.Unavailable || s.Message() == withoutTrailers || s.Message() == io.ErrUnexpectedEOF.Error() ||
		strings.HasPrefix(s.Message(), streamReset)
}

// Error messages of grpc-go, or their beginnings, for a stream that has ended without a status.
const (
	streamReset     = "stream terminated by RST_STREAM"
	withoutTrailers = "server closed the stream without sending trailers"
)
