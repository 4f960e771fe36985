// Package calltest makes single calls for tests of middleware.
package calltest

import (
	"context"
	"errors"
	"net/http"
	"net/netip"

	"github.com/chassi-go/chassi"
)

// Headers implements [chassi.Metadata] with an HTTP header.
type Headers struct{ http.Header }

// Body implements [chassi.Codec]. Decoded is the number of calls of Decode, and Fail is the error
// that Decode returns.
type Body struct {
	Decoded int
	Fail    error
}

// Decode increments b.Decoded and returns b.Fail. It does not change its argument.
func (b *Body) Decode(any) error { b.Decoded++; return b.Fail }

// Encode is a no-op and returns nil.
func (*Body) Encode(any) error { return nil }

// Thing is one call of an endpoint. [New] binds the endpoint to POST /v1/things/{id}, [NewStream]
// to a method of gRPC.
type Thing struct {
	Binding *chassi.Binding
	Call    *chassi.Call
	Body    *Body // codec of the call; unused if the call is that of a stream
}

type request struct {
	Secret string `json:"secret"`
}

// New returns a call that runs method. The status of an error is 400 plus its [chassi.Code].
func New(method func(context.Context) error, options ...chassi.EndpointOption) *Thing {
	e := chassi.NewEndpoint("Do", func(ctx context.Context, _ *request) (*struct{}, error) {
		return &struct{}{}, method(ctx)
	}, options...)
	b := &chassi.Binding{Endpoint: e, Transport: "http", Method: "POST", Route: "/v1/things/{id}", Status: func(_ *chassi.Call, err error) int {
		if err == nil {
			return http.StatusOK
		}
		return 400 + int(chassi.ErrorOf(err).Code)
	}}
	th := &Thing{Binding: b, Body: &Body{}}
	th.Call = &chassi.Call{
		Binding: b, Peer: netip.MustParseAddrPort("192.0.2.7:5555"), RequestID: "request-0001",
		In: Headers{http.Header{}}, Out: Headers{http.Header{}}, Codec: th.Body,
	}
	return th
}

// Run makes the call through middleware and returns its error.
func (th *Thing) Run(ctx context.Context, middleware ...chassi.Middleware) error {
	return th.Binding.Handler(middleware...)(th.Call.Context(ctx), th.Call)
}

// Fine is a method that succeeds.
func Fine(context.Context) error { return nil }

// Errors for methods to return in tests.
var (
	ErrRefused = chassi.NewError(chassi.PermissionDenied, "not_yours", "The resource belongs to another user")
	ErrBroken  = errors.New("password=hunter2 was refused by the database")
)

// Panics is a method that panics.
func Panics(context.Context) error { panic("a canary in a panic") }
