package chassi

import (
	"context"
	"errors"
	"fmt"
	"reflect"
)

// Local serves endpoints to callers in the same process: it is a [Transport] and
// the [Caller] of what it serves. Calls pass through middleware and the
// endpoint's policy, as everywhere. Nothing is encoded: the method gets a shallow
// copy of the request, and the caller the method's own response. The caller's
// principal and peer go along.
type Local struct {
	middleware []Middleware
	served     map[string]served
}

type served struct {
	binding *Binding
	handle  Handler
}

var (
	_ Transport = (*Local)(nil)
	_ Caller    = (*Local)(nil)
)

// NewLocal makes a Local. The first middleware is outermost; none may be nil.
func NewLocal(middleware ...Middleware) *Local {
	return &Local{middleware: middleware, served: make(map[string]served)}
}

// Name returns "local".
func (*Local) Name() string { return "local" }

// Start does nothing.
func (*Local) Start(context.Context) error { return nil }

// Stop does nothing: a call in process ends with its caller.
func (*Local) Stop(context.Context) error { return nil }

// Mount serves the endpoints of s. It must not be called any more once there are
// calls.
func (l *Local) Mount(s *Service) error {
	if s.Err() != nil {
		return s.Err()
	}
	if hasNil(l.middleware) {
		return errors.New("chassi: local calls pass through a middleware that is nil")
	}
	for _, e := range s.Endpoints() {
		b := &Binding{Endpoint: e, Transport: "local", Route: e.FullName(), Status: CodeStatus}
		l.served[e.FullName()] = served{b, b.Handler(l.middleware...)}
	}
	return nil
}

// Bind finds the endpoint that is served under the name of e.
func (l *Local) Bind(e *Endpoint) (*Binding, Handler, error) {
	s, ok := l.served[e.FullName()]
	if !ok {
		return nil, nil, fmt.Errorf("%s is not served in this process", e.FullName())
	}
	if there := s.binding.Endpoint; there.request != e.request || there.response != e.response {
		return nil, nil, fmt.Errorf("%s takes %v and returns %v here, not %v and %v", e.FullName(), there.request, there.response, e.request, e.response)
	}
	b := &Binding{Endpoint: e, Transport: "local", Client: true, Route: e.FullName(), Status: CodeStatus}
	return b, s.call, nil
}

// call makes a call for the server's side of what the client's side wants.
func (s served) call(ctx context.Context, from *Call) error {
	codec := &localCodec{from: from}
	call := &Call{Binding: s.binding, RequestID: from.RequestID, In: from.In, Out: from.Out, Codec: codec}
	if outer := CallFrom(ctx); outer != nil {
		call.Peer, call.Principal = outer.Peer, outer.Principal
	}
	if err := s.handle(call.Context(ctx), call); err != nil {
		return ErrorOf(err)
	}
	if !codec.answered {
		return ErrorOf(errNotEncoded)
	}
	return nil
}

var errNotEncoded = errors.New("a middleware ended the call with neither a response nor an error")

// CodeStatus is the [Binding].Status of transports without statuses of their own:
// 0, or the code.
func CodeStatus(_ *Call, err error) int {
	if err == nil {
		return 0
	}
	return int(ErrorOf(err).Code)
}

// localCodec hands typed messages over without encoding them.
type localCodec struct {
	from     *Call
	answered bool
}

func (c *localCodec) Decode(request any) error {
	reflect.ValueOf(request).Elem().Set(reflect.ValueOf(c.from.Request).Elem())
	return nil
}

func (c *localCodec) Encode(response any) error {
	reflect.ValueOf(c.from.Response).Elem().Set(reflect.ValueOf(response).Elem())
	c.answered = true
	return nil
}
