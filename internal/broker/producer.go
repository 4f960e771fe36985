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

// Message is a message of a [Queue] as its broker stores it.
type Message struct {
	Metadata transport.Pairs
	ID       string // at most 200 printable ASCII characters; "" for none
	Body     []byte
}

// Producer publishes messages to a work queue. It is the common part of the brokers'
// publishers, and safe for concurrent use.
type Producer struct {
	transport, route string
	middleware       []chassi.Middleware
	store            func(context.Context, Message) error

	mu       sync.Mutex
	handlers map[*chassi.Endpoint]bound
}

// bound is an endpoint with a prepared encoding.
type bound struct {
	binding *chassi.Binding
	handler chassi.Handler
}

// NewProducer returns a producer for the queue of that name. Each message passes through
// middleware like an outgoing call, on the route "publish QUEUE", and then to store, which
// returns after the broker has stored it.
func NewProducer(transport, queue string, middleware []chassi.Middleware, store func(context.Context, Message) error) (*Producer, error) {
	if slices.ContainsFunc(middleware, func(m chassi.Middleware) bool { return m == nil }) {
		return nil, fmt.Errorf("publisher of %s: a middleware is nil", queue)
	}
	return &Producer{transport: transport, route: "publish " + queue, middleware: middleware, store: store, handlers: make(map[*chassi.Endpoint]bound)}, nil
}

// idKey is the context's key for the id of the message.
type idKey struct{}

var (
	errID      = chassi.NewError(chassi.InvalidArgument, "invalid_message_id", "The id of the message is invalid")
	errRequest = chassi.NewError(chassi.InvalidArgument, "invalid_request", "The message cannot be published")
)

// maxID is the maximum length of the id of a message in bytes. It is well below the limit of AMQP
// for a property, 255 bytes.
const maxID = 200

// Publish stores request, a pointer to the request type of e, under id. The request id of the
// call in ctx is sent too. The deadline of ctx limits the publishing, not the work.
func (p *Producer) Publish(ctx context.Context, e *chassi.Endpoint, id string, request any) error {
	if len(id) > maxID || !transport.IsMetadataValue(id) {
		return errID.WithCause(fmt.Errorf("the id %.50q has %d bytes; want at most %d of printable ASCII", id, len(id), maxID))
	}
	b, err := p.bind(e)
	if err != nil {
		return err
	}
	if v := reflect.ValueOf(request); v.Kind() != reflect.Pointer || v.IsNil() || v.Type().Elem() != e.RequestType() {
		return errRequest.WithCause(fmt.Errorf("%s accepts *%v, not %T", e.FullName(), e.RequestType(), request))
	}
	var in, out transport.Pairs
	call := &chassi.Call{Binding: b.binding, In: &in, Out: &out, Request: request, Response: reflect.New(e.ResponseType()).Interface()}
	if outer := chassi.CallFrom(ctx); outer != nil && outer.RequestID != "" {
		call.RequestID = outer.RequestID
		in.Set(transport.RequestIDKey, outer.RequestID)
	}
	return b.handler(context.WithValue(ctx, idKey{}, id), call)
}

// bind returns the prepared encoding of e, which it prepares on first use.
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
		return Unreachable(ctx, err)
	}
	for _, m := range slices.Backward(p.middleware) {
		b.handler = m(b.binding, b.handler)
	}
	p.handlers[e] = b
	return b, nil
}
