package broker

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
)

// Message is a message of a [transport.Queue] as the broker stores it.
type Message struct {
	Metadata transport.Pairs
	ID       string // at most 200 printable ASCII characters; "" for none
	Body     []byte
}

// Producer publishes messages to a work queue. The publishers of all brokers are based on it. It is
// safe for concurrent use.
type Producer struct {
	transport, route string
	middleware       []chassi.Middleware
	store            func(context.Context, Message) error

	mu       sync.Mutex
	handlers map[*chassi.Endpoint]bound
}

// bound holds the binding of an endpoint and the handler that publishes a message for it.
type bound struct {
	binding *chassi.Binding
	handler chassi.Handler
}

// NewProducer returns a producer for the queue with the given name. Each message passes through
// middleware, the first one outermost, like an outgoing call on the route "publish QUEUE". It is
// then passed to store, which must return nil only after the broker has stored the message.
// NewProducer returns an error if a middleware is nil.
func NewProducer(transport, queue string, middleware []chassi.Middleware, store func(context.Context, Message) error) (*Producer, error) {
	if slices.ContainsFunc(middleware, func(m chassi.Middleware) bool { return m == nil }) {
		return nil, fmt.Errorf("publisher of %s: a middleware is nil", queue)
	}
	return &Producer{transport: transport, route: "publish " + queue, middleware: middleware, store: store, handlers: make(map[*chassi.Endpoint]bound)}, nil
}

// idKey is the context key for the ID of the message.
type idKey struct{}

var (
	errID      = chassi.NewError(chassi.InvalidArgument, "invalid_message_id", "The ID of the message is invalid")
	errRequest = chassi.NewError(chassi.InvalidArgument, "invalid_request", "The message cannot be published")
)

// maxID is the maximum length of the ID of a message in bytes. It is well below the limit of AMQP
// for a property, 255 bytes.
const maxID = 200

// Publish publishes request, a pointer to the request type of e, as a message with the given ID.
// If ctx belongs to a call, the message also has the request ID of that call. The deadline of ctx
// limits the publishing, not the work. The error is [chassi.InvalidArgument] if id or request is
// invalid, or if e cannot be bound to a work queue. If store fails with a [chassi.Error], Publish
// returns that error; after any other error of store, the error is that for ctx.Err() if ctx is
// done, and otherwise [chassi.Unavailable]. A middleware may return further errors.
func (p *Producer) Publish(ctx context.Context, e *chassi.Endpoint, id string, request any) error {
	if len(id) > maxID {
		return errID.WithCause(fmt.Errorf("the ID %.50q has %d bytes; want at most %d", id, len(id), maxID))
	}
	if !transport.IsMetadataValue(id) {
		return errID.WithCause(fmt.Errorf("the ID %q: want printable ASCII characters", id))
	}
	b, err := p.bind(e)
	if err != nil {
		return errRequest.WithCause(err)
	}
	if v := reflect.ValueOf(request); v.Kind() != reflect.Pointer || v.Type().Elem() != e.RequestType() {
		return errRequest.WithCause(fmt.Errorf("the request of %s has the type %T; want *%v", e.FullName(), request, e.RequestType()))
	} else if v.IsNil() {
		return errRequest.WithCause(fmt.Errorf("the request of %s is a nil %T", e.FullName(), request))
	}
	var in, out transport.Pairs
	call := &chassi.Call{Binding: b.binding, In: &in, Out: &out, Request: request, Response: reflect.New(e.ResponseType()).Interface()}
	if outer := chassi.CallFrom(ctx); outer != nil && outer.RequestID != "" {
		call.RequestID = outer.RequestID
		in.Set(transport.RequestIDKey, outer.RequestID)
	}
	return b.handler(context.WithValue(ctx, idKey{}, id), call)
}

// bind returns the binding and the handler of e, which it creates on first use. It returns an error
// if e is a stream, if brokers do not support e, or if the request or response type of e has no
// Protocol Buffers encoding.
func (p *Producer) bind(e *chassi.Endpoint) (bound, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b, ok := p.handlers[e]; ok {
		return b, nil
	}
	remote, err := NewRemote(e)
	if err = errors.Join(err, RefuseQueue(e, strings.TrimPrefix(p.route, "publish "))); err != nil {
		return bound{}, err
	}
	b := bound{binding: &chassi.Binding{Endpoint: e, Transport: p.transport, Client: true, Route: p.route, Status: transport.CodeStatus}}
	b.handler = func(ctx context.Context, call *chassi.Call) error {
		body, err := remote.Write(context.WithoutCancel(ctx), call)
		if err != nil {
			return err
		}
		id, _ := ctx.Value(idKey{}).(string)
		in, _ := call.In.(*transport.Pairs)
		err = p.store(ctx, Message{*in, id, body})
		if _, ours := errors.AsType[*chassi.Error](err); err == nil || ours {
			return err
		}
		return unreachable(ctx, "The work queue cannot be reached or refuses the message", err)
	}
	for _, m := range slices.Backward(p.middleware) {
		b.handler = m(b.binding, b.handler)
	}
	p.handlers[e] = b
	return b, nil
}
