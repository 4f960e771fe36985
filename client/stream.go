package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"sync/atomic"

	"github.com/chassi-go/chassi"
)

// Streamer is a [Caller] that also opens streams.
type Streamer interface {
	Caller
	// BindStream prepares calls of e, an endpoint made with [chassi.NewStream]. It returns
	// the binding for the middleware and a handler that makes a call, or an error if e
	// cannot be called. The handler opens the stream, calls call.Stream.Open once the
	// server has accepted the call, and call.Stream.Received with each item; if Received
	// returns false, the handler cancels the call. It returns nil only if the server has
	// declared the end of the stream, and either Open has been called or the server had
	// nothing to send. Its errors are of type [*chassi.Error]: the error that the server
	// sent, or for example [chassi.Unavailable] for a stream that broke off or fell silent.
	BindStream(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error)
}

// bind prepares calls of e through caller. It returns an error if e is a stream and
// caller is not a [Streamer].
func bind(caller Caller, e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error) {
	if !e.Streams() {
		return caller.Bind(e) //nolint:wrapcheck // says what
	}
	s, ok := caller.(Streamer)
	if !ok {
		return nil, nil, fmt.Errorf("%T does not support streams", caller)
	}
	return s.BindStream(e) //nolint:wrapcheck // says what
}

// Stream opens a stream of the named endpoint, which was made with [chassi.NewStream]. It returns
// an error if the call fails before the stream opens, a nil iterator (do not range over it) if the
// server has nothing to send, and otherwise an iterator over the items. If the stream fails later,
// the iterator ends with the error and a nil item; a loop that ends without an error has received
// all items.
//
// The iterator may be used once. Leaving the loop cancels the call. If the iterator is not used,
// the stream stays open until ctx is done. The request ID of the call in ctx and the deadline of
// ctx are sent; the deadline applies to the whole stream.
func Stream[Item, Req any](ctx context.Context, c *Client, name string, request *Req) (iter.Seq2[*Item, error], error) {
	m, ok := c.methods[name]
	if !ok {
		return nil, fmt.Errorf("client: service %s has no method %s", c.service, name)
	}
	if m.refusal != nil {
		return nil, m.refusal
	}
	e := m.binding.Endpoint
	if !e.Streams() {
		return nil, fmt.Errorf("client: %s is not a stream: call Invoke", e.FullName())
	}
	if e.RequestType() != reflect.TypeFor[Req]() || e.ResponseType() != reflect.TypeFor[Item]() {
		return nil, fmt.Errorf("client: %s accepts %v and yields %v, not %v and %v", e.FullName(), e.RequestType(), e.ResponseType(), reflect.TypeFor[Req](), reflect.TypeFor[Item]())
	}
	if request == nil {
		return nil, errNoRequest
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &stream[Item]{cancel: cancel, items: make(chan *Item), opened: make(chan struct{}), ended: make(chan struct{})}
	call := newCall(ctx, m.binding, request, nil)
	call.Stream = chassi.NewStreamState()
	call.Stream.OnOpen(func() { close(s.opened) })
	call.Stream.Deliver = s.deliver
	go s.run(ctx, m.call, call)
	select {
	case <-s.opened:
		return s.all, nil
	case <-s.ended:
		cancel()
		return nil, s.err
	}
}

// stream is an open stream of a client. Its call runs in a separate goroutine, so that
// the middleware wraps the whole call, as it does for other calls.
type stream[Item any] struct {
	cancel context.CancelFunc
	items  chan *Item
	opened chan struct{}
	ended  chan struct{} // closed after err was set
	err    error
	used   atomic.Bool
}

func (s *stream[Item]) run(ctx context.Context, call chassi.Handler, c *chassi.Call) {
	defer close(s.ended)
	defer func() {
		if v := recover(); v != nil {
			s.err = chassi.Recovered(v)
		}
	}()
	s.err = call(ctx, c)
}

func (s *stream[Item]) deliver(ctx context.Context, item any) bool {
	typed, ok := item.(*Item)
	if !ok {
		return false
	}
	select {
	case s.items <- typed:
		return true
	case <-ctx.Done():
		return false
	}
}

var errUsedTwice = errors.New("client: the iterator of a stream can be used only once")

// all is the iterator that [Stream] returns. When the loop ends, all cancels the call
// and waits for the end of the call.
func (s *stream[Item]) all(yield func(*Item, error) bool) {
	if s.used.Swap(true) {
		yield(nil, errUsedTwice)
		return
	}
	defer func() {
		s.cancel()
		<-s.ended
	}()
	for {
		select {
		case item := <-s.items:
			if !yield(item, nil) {
				return
			}
		case <-s.ended:
			if s.err != nil {
				yield(nil, s.err)
			}
			return
		}
	}
}
