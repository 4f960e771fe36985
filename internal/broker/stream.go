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

// Sender sends the messages of one stream. Each transport that supports streams implements it.
type Sender interface {
	// Begin admits the stream before its method is called, and returns a context that is canceled
	// at the end of the stream. If Begin returns an error, the call fails with that error.
	Begin(ctx context.Context, call *chassi.Call) (context.Context, error)
	// Open sends the first message of the stream, with the metadata of the response.
	Open(metadata transport.Pairs) error
	// Send sends body, an item encoded in the format contentType. It must not retain body.
	Send(contentType string, body []byte) error
}

// RefuseStream returns an error if e is a stream. It is used by transports that do not support
// streams; transport is the name of the transport, such as "amqp".
func RefuseStream(e *chassi.Endpoint, transport string) error {
	if !e.Streams() {
		return nil
	}
	return fmt.Errorf("%s: streams are not supported over %s (see chassi.Transports)", e.FullName(), strings.ToUpper(transport))
}

// RefuseQueue returns an error if e is a stream. A stream cannot be bound to a work queue, because
// the messages of a work queue have no response.
func RefuseQueue(e *chassi.Endpoint, queue string) error {
	if !e.Streams() {
		return nil
	}
	return fmt.Errorf("work queue %s: %s is a stream, which a work queue cannot carry", queue, e.FullName())
}

// streamExchange is the [exchange] of a stream. It implements [chassi.StreamCodec].
type streamExchange struct {
	exchange
	sender Sender
	item   []byte // buffer for the encoding of an item; nil or reused
}

var _ chassi.StreamCodec = (*streamExchange)(nil)

// HandleStream makes the call of a stream that r requests, and sends the stream with s. It returns
// when the call has ended. The returned response has the error with which the call ended; it has no
// error if the stream is complete, or if there was nothing to send and the stream was never opened.
// HandleStream never panics.
func (rt *Route) HandleStream(ctx context.Context, r Request, s Sender) *Response {
	x := &streamExchange{sender: s}
	x.call.Codec = x
	return x.handle(ctx, rt, r)
}

var errSingleResponse = errors.New("a middleware responded to a stream with a single response")

// Encode always returns an error, because the response of a stream consists of its items.
func (x *streamExchange) Encode(any) error { return errSingleResponse }

// Begin admits the stream with the [Sender], and returns the context of the stream.
func (x *streamExchange) Begin(ctx context.Context, call *chassi.Call) (context.Context, error) {
	return x.sender.Begin(ctx, call) //nolint:wrapcheck // is the response
}

// Open sends the first message of the stream. It returns an error if the metadata of the response
// cannot be sent.
func (x *streamExchange) Open() error {
	if err := transport.CheckResponse(x.response.Header); err != nil {
		return fmt.Errorf("the response of %s: %w", x.route.Name(), err)
	}
	return x.sender.Open(x.response.Header) //nolint:wrapcheck // is the response
}

// maxKept is the maximum size in bytes of the buffer that a stream keeps between two items.
const maxKept = 4 << 10

// Send sends an item in the format of the request, and returns its size in bytes. An item whose
// encoding is empty is sent as JSON: a message without a body is the sentinel of ADR-47 of NATS,
// which third-party clients treat as the end of the stream.
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

// ReadItem decodes body, an item in the format contentType, into item, a pointer to the endpoint's
// response type. The error is [chassi.Internal] if body is malformed.
func (r *Remote) ReadItem(contentType string, body []byte, item any) error {
	return r.decode(contentType, body, item)
}
