package chassi

import (
	"context"
	"errors"
	"iter"
	"reflect"
	"sync"
	"time"
)

// NewStream returns an endpoint for a method whose response is a stream of items. Req
// and Item must be plain structs. The rules of [NewEndpoint] apply.
//
// If the method returns an error, the call fails with that error, and no item is sent.
// If it returns an iterator, the stream opens, and the items are sent as the iterator
// yields them: yield blocks while the client is slower. A nil iterator without an error
// means that there is nothing to send, now or later.
//
// The stream ends normally only if the iterator returns before ctx, the context of the method, is
// done. If the iterator yields an error, with a nil item, the stream ends with that error. When ctx
// is done, yield returns false, and the stream ends with [context.Cause] of ctx. This happens when the
// client disconnects, its deadline or the maximum age of streams passes, its credentials expire, or
// the server stops. The iterator is called at most once, and not at all if ctx is done first or opening
// fails. The method should therefore release what it acquires outside the iterator when ctx is done.
func NewStream[Req, Item any](name string, method func(context.Context, *Req) (iter.Seq2[*Item, error], error), options ...EndpointOption) *Endpoint {
	e := newEndpoint[Req, Item](name, method != nil)
	e.streams = true
	e.serve = func(ctx context.Context, call *Call) error { return serveStream(ctx, call, method) }
	e.apply(options)
	e.require(e.status == 0, "has a status: a stream has 200, or 204 if there is nothing to send")
	e.require(e.cacheFor == 0, "may be cached: a stream must not be")
	sent, received := e.Files()
	e.require(!sent && !received, "has a file, which a stream does not carry: use NewEndpoint")
	return e
}

// Finite declares that the streams of an endpoint end on their own. When the server
// stops, they have the grace period to do so; all other streams, which are subscriptions,
// end at once with [Unavailable] and a delay for the client's next attempt.
func Finite(e *endpointSettings) { e.finite = true }

// Streams reports whether the response is a stream of items of [Endpoint.ResponseType].
func (e *Endpoint) Streams() bool { return e.streams }

// Finite reports whether streams are given time to end when the server stops; see [Finite].
func (e *Endpoint) Finite() bool { return e.finite }

// StreamCodec is the [Codec] of a call of a streaming endpoint. Transports implement it.
type StreamCodec interface {
	Codec
	// Begin admits the stream before its method is called, or returns an error, with which
	// the call fails. The returned context is canceled when the stream ends, with the
	// reason for the end as its cause.
	Begin(ctx context.Context, call *Call) (context.Context, error)
	// Open sends the beginning of the response, so that the client knows that the call was
	// accepted. Its error ends the stream. Open is not called if there is nothing to send.
	Open() error
	// Send encodes and sends item, a pointer to the endpoint's response type, and returns the
	// size of the encoded item in bytes. It blocks while the client is slower. Its error ends
	// the stream.
	Send(item any) (int, error)
}

// Stream is the state of a call of a streaming endpoint.
type Stream struct {
	Items int64         // number of items sent by a server or received by a client
	Bytes int64         // total size of the encoded items; 0 in process
	First time.Duration // time from the beginning of the call to its first item; 0 before it

	// Deliver passes an item, a pointer to the endpoint's response type, to the caller of a
	// client. It waits for the caller until ctx is done, and reports whether the caller
	// accepts more items. Package client sets it. A client's transport calls it, through
	// [Stream.Received], for each item.
	Deliver func(ctx context.Context, item any) bool

	began  time.Time
	opened bool
	onOpen []func()
	onItem []func()
}

// NewStreamState returns the state of a call of a streaming endpoint that begins now.
func NewStreamState() *Stream { return &Stream{began: time.Now()} }

// OnOpen registers f to be called when the server has accepted the call, before the first item.
// Middleware uses it, for example, to end a timeout that limits only the opening of the stream.
func (s *Stream) OnOpen(f func()) { s.onOpen = append(s.onOpen, f) }

// OnItem registers f to be called for each item that is sent or received.
func (s *Stream) OnItem(f func()) { s.onItem = append(s.onItem, f) }

// Opened reports whether the server has accepted the call.
func (s *Stream) Opened() bool { return s.opened }

// Open records that the server has accepted the call. Only the first call of Open has an effect. On
// a client, the transport calls it; on a server, the endpoint does.
func (s *Stream) Open() {
	if s.opened {
		return
	}
	s.opened = true
	for _, f := range s.onOpen {
		f()
	}
}

// Received opens the stream, counts an item that a client has received and its encoded
// size in bytes, and passes the item to the caller, unless ctx is done first. It reports
// whether the caller accepts more items.
func (s *Stream) Received(ctx context.Context, item any, size int) bool {
	s.Open()
	s.count(size)
	return s.Deliver(ctx, item)
}

func (s *Stream) count(size int) {
	if s.Items++; s.Items == 1 {
		s.First = time.Since(s.began)
	}
	s.Bytes += int64(size)
	for _, f := range s.onItem {
		f()
	}
}

var (
	errNoItem      = errors.New("the stream yielded neither an item nor an error")
	errNoStreaming = errors.New("the transport does not carry streams")
)

// serveStream is the innermost handler of a stream: it decodes and checks the request, calls
// method and sends the items that the iterator yields.
func serveStream[Req, Item any](ctx context.Context, call *Call, method func(context.Context, *Req) (iter.Seq2[*Item, error], error)) error {
	codec, ok := call.Codec.(StreamCodec)
	if !ok {
		return errNoStreaming
	}
	request := new(Req)
	if err := call.decode(ctx, request); err != nil {
		return err
	}
	ctx, err := codec.Begin(ctx, call)
	if err != nil {
		return err
	}
	items, err := method(ctx, request)
	if err == nil {
		err = context.Cause(ctx) // opening took all the time there was
	}
	if err != nil {
		return endOf(ctx, err)
	}
	call.answered = true
	if items == nil {
		return nil
	}
	call.Stream.Open()
	if err := codec.Open(); err != nil {
		return endOf(ctx, err)
	}
	s := sending{ctx: ctx, call: call, codec: codec}
	defer func() { _ = s.end() }() // after a panic too
	items(func(item *Item, err error) bool {
		if err == nil && item == nil {
			err = errNoItem
		}
		return s.send(item, err)
	})
	return endOf(ctx, s.end())
}

// sending sends the items that the iterator of a stream yields. It is safe for
// concurrent use, because an iterator may by mistake yield in another goroutine, even
// after it has returned: items are never sent concurrently, nor after the end.
type sending struct {
	mu    sync.Mutex
	ctx   context.Context //nolint:containedctx // of the stream
	call  *Call
	codec StreamCodec
	ended bool
	err   error
}

func (s *sending) send(item any, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	size := 0
	if err == nil {
		err = context.Cause(s.ctx) // an iterator that always has items may look at nothing else
	}
	if err == nil {
		size, err = s.codec.Send(item)
	}
	if err != nil {
		s.ended, s.err = true, err
		return false
	}
	s.call.Stream.count(size)
	return true
}

func (s *sending) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	return s.err
}

// endOf returns the result of a stream that ended with err: the cause of ctx if ctx is
// done and err is nil or an error of package context, and err otherwise.
func endOf(ctx context.Context, err error) error {
	if ctx.Err() == nil || err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return context.Cause(ctx)
}

// newEndpoint returns an endpoint with the request type Req and the response type Res.
func newEndpoint[Req, Res any](name string, hasMethod bool) *Endpoint {
	e := &Endpoint{name: name, headers: make(map[string]string), request: reflect.TypeFor[Req](), response: reflect.TypeFor[Res]()}
	e.require(hasMethod, "has no method")
	e.require(e.request.Kind() == reflect.Struct, "takes "+e.request.String()+", not a struct")
	e.require(e.response.Kind() == reflect.Struct, "returns "+e.response.String()+", not a struct")
	return e
}
