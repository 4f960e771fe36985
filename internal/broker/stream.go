package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/strictjson"
	"github.com/chassi-go/chassi/transport"
)

// Sender sends the messages of one stream. A transport that supports streams implements it; see
// [chassi.StreamCodec].
type Sender interface {
	// Begin admits the stream, or returns the error of the call.
	Begin(ctx context.Context, call *chassi.Call) (context.Context, error)
	// Open sends the first message, with metadata.
	Open(metadata transport.Pairs) error
	// Send sends an encoded item. It must not retain body.
	Send(contentType string, body []byte) error
}

// RefuseStream returns an error if e is a stream, for transports that do not support streams.
func RefuseStream(e *chassi.Endpoint, transport string) error {
	if !e.Streams() {
		return nil
	}
	return fmt.Errorf("%s: streams are not supported over %s (see chassi.Transports)", e.FullName(), strings.ToUpper(transport))
}

// RefuseQueue returns an error if e is a stream: the messages of work queues have no response.
func RefuseQueue(e *chassi.Endpoint, queue string) error {
	if !e.Streams() {
		return nil
	}
	return fmt.Errorf("work queue %s: %s is a stream, which a work queue cannot carry", queue, e.FullName())
}

// streamExchange is one call of a stream.
type streamExchange struct {
	exchange
	sender Sender
	item   []byte // the encoding of the last item
}

var _ chassi.StreamCodec = (*streamExchange)(nil)

// HandleStream makes the call of a message and returns the end of its stream. If the stream was not
// opened, it returns the response; if that has no error, there is nothing to send. It never panics.
func (rt *Route) HandleStream(ctx context.Context, r Request, s Sender) *Response {
	x := &streamExchange{sender: s}
	x.call.Codec = x
	return x.handle(ctx, rt, r)
}

var errSingleResponse = errors.New("a middleware has responded a stream, which has no single response")

// Encode returns an error: the response of a stream is its items.
func (x *streamExchange) Encode(any) error { return errSingleResponse }

// Begin admits the stream.
func (x *streamExchange) Begin(ctx context.Context, call *chassi.Call) (context.Context, error) {
	return x.sender.Begin(ctx, call) //nolint:wrapcheck // is the response
}

// Open sends the first message.
func (x *streamExchange) Open() error {
	if err := transport.CheckResponse(x.response.Header); err != nil {
		return fmt.Errorf("the response of %s: %w", x.route.Name(), err)
	}
	return x.sender.Open(x.response.Header) //nolint:wrapcheck // is the response
}

// maxKept is the maximum size of the buffer that a stream keeps between two items.
const maxKept = 4 << 10

// Send sends an item in the format of the request, and returns its size in bytes. An item whose
// encoding is empty is sent as JSON: a message without a body would be the sentinel of ADR-47 of
// NATS, which third-party clients take for the end of the stream.
func (x *streamExchange) Send(item any) (int, error) {
	var err error
	kind := JSON
	if x.item = x.item[:0]; !x.protobuf {
		err = strictjson.Append(&x.item, item)
	} else if x.item, err = x.route.response.Append(x.item, item); len(x.item) > 0 {
		kind = Protobuf
	} else {
		x.item = append(x.item, "{}"...)
	}
	if err != nil {
		return 0, fmt.Errorf("an item of %s: %w", x.route.Name(), err)
	}
	size := len(x.item)
	err = x.sender.Send(kind, x.item)
	if cap(x.item) > maxKept {
		x.item = nil
	}
	return size, err //nolint:wrapcheck // is the response
}

// ReadItem decodes the item in body, in the format of contentType, into item, a pointer to the
// endpoint's response type.
func (r *Remote) ReadItem(contentType string, body []byte, item any) error {
	return r.decode(contentType, body, item)
}
