package chassi

import (
	"context"
	"net/netip"
)

// Call is one call of an endpoint on its way through the middleware, on the side
// that serves or, with a client, on the side that calls. It is made by the
// transport before a byte of the body is read, belongs to one goroutine at a
// time, and must not be kept after the call.
type Call struct {
	*Binding // what is known since registration

	Peer      netip.AddrPort // the client's address, past trusted proxies; the zero value in process and, mostly, behind a broker
	PeerName  string         // the client of a broker as the broker authenticated it, "nats:alice"; "nats:" if it named none; "" without a broker
	RequestID string         // never empty behind a transport; printable ASCII
	In        Metadata       // what came with the request: headers; never nil
	Out       Metadata       // what goes with the answer; never nil

	Principal *Principal // who calls, once a middleware has found out
	Request   any        // pointer to the typed request, once decoded
	Response  any        // pointer to the typed response, once the method returned it

	Codec Codec // the transport's side of the message

	ctx callContext
}

// Metadata are the key-value pairs beside a message. Keys are case-insensitive.
type Metadata interface {
	// Get returns the first value of key, "" for none.
	Get(key string) string
	// Set replaces all values of key. A transport that cannot carry the pair drops it.
	Set(key, value string)
}

// Codec decodes and encodes the messages of one call. Transports implement it.
type Codec interface {
	// Decode reads the message into request, a pointer to the endpoint's request
	// type. It returns an [*Error] for a malformed or too large one.
	Decode(request any) error
	// Encode renders response, a pointer to the endpoint's response type. The
	// transport sends it when the middleware has returned without an error.
	Encode(response any) error
}

type callKey struct{}

// callContext lives inside its Call, so that a context which knows its call
// costs no allocation.
type callContext struct {
	context.Context //nolint:containedctx // it is a context
	call            *Call
}

func (c *callContext) Value(key any) any {
	if key == (callKey{}) {
		return c.call
	}
	return c.Context.Value(key)
}

// Source names what limits count the call by: the network of the client's address, which
// is an IPv4 address or an IPv6 /64 (the least that one customer gets, RFC 6177), or else
// its [Call.PeerName]. It is "" in process. All clients that a broker does not name
// share one source.
func (c *Call) Source() string {
	if !c.Peer.IsValid() {
		return c.PeerName
	}
	addr := c.Peer.Addr().Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	prefix, err := addr.Prefix(64)
	if err != nil {
		return c.PeerName
	}
	return prefix.String()
}

// Context returns parent with the call in it. A transport calls it once per
// call.
func (c *Call) Context(parent context.Context) context.Context {
	c.ctx = callContext{Context: parent, call: c}
	return &c.ctx
}

// CallFrom returns the call that ctx belongs to, nil outside of one.
func CallFrom(ctx context.Context) *Call {
	call, _ := ctx.Value(callKey{}).(*Call)
	return call
}
