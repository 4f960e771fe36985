package chassi

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"reflect"
	"time"
)

// Call is one call of an endpoint. It passes through the middleware, on the server and, with a
// client, on the client too. The transport creates it before it reads the body. A Call is not
// safe for concurrent use and must not be retained after the call.
type Call struct {
	*Binding // resolved at registration

	Peer      netip.AddrPort // client's address, even behind trusted proxies; zero in process and usually over a broker
	PeerName  string         // authenticated name of a broker client: "nats:alice"; "nats:" if anonymous; "" if no broker
	RequestID string         // never empty on a server; printable ASCII
	In        Metadata       // metadata of the request, such as headers; never nil
	Out       Metadata       // metadata of the response; never nil

	// PeerCertificate is the client's TLS certificate, verified against the server's client
	// CAs; nil if there is no such certificate.
	PeerCertificate *x509.Certificate

	Principal *Principal // set by an authentication middleware; nil for an anonymous call
	Request   any        // pointer to the typed request, after decoding
	Response  any        // pointer to the typed response, after the method has returned

	Codec Codec // nil on a client

	// Stream is the state of a call to a streaming endpoint ([NewStream]), nil for any other call.
	Stream *Stream

	answered bool            // whether there is a response to send
	parent   context.Context //nolint:containedctx // of the context that carries the call
}

// Metadata holds the key-value pairs of a message. Keys are case-insensitive. If the transport
// can carry several values per key, the implementation also has a method Values(key string)
// []string.
type Metadata interface {
	// Get returns the first value of key, or "".
	Get(key string) string
	// Set replaces all values of key. A transport that cannot carry the pair drops it.
	Set(key, value string)
}

// Codec decodes and encodes the messages of one call. Transports implement it.
type Codec interface {
	// Decode decodes the message into request, a pointer to the endpoint's request type. It
	// returns an [*Error] if the message is malformed or too large.
	Decode(request any) error
	// Encode encodes response, a pointer to the endpoint's response type. The transport sends
	// it after the middleware has returned nil.
	Encode(response any) error
}

type callKey struct{}

// callContext is a Call that is itself the context that carries it, to save an allocation.
type callContext Call

var _ context.Context = (*callContext)(nil)

func (c *callContext) Deadline() (time.Time, bool) { return c.parent.Deadline() }
func (c *callContext) Done() <-chan struct{}       { return c.parent.Done() }
func (c *callContext) Err() error                  { return c.parent.Err() } //nolint:wrapcheck // of a context

func (c *callContext) Value(key any) any {
	if key == (callKey{}) {
		return (*Call)(c)
	}
	return c.parent.Value(key)
}

// Source returns the key by which limits count the call: the network of the client's address,
// which is an IPv4 address or an IPv6 /64 (the smallest allocation to a customer, RFC 6177), or
// [Call.PeerName] if there is no address. It is "" in process. All anonymous clients of a broker
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

// Respond sets response, a pointer to the endpoint's response type, as the response of the call.
// The endpoint calls it with the result of the method. A middleware that responds without
// calling next must call it before it returns nil.
func (c *Call) Respond(response any) error {
	if c.Endpoint.streams {
		return fmt.Errorf("chassi: %s is a stream, which no middleware can answer", c.Endpoint.FullName())
	}
	if t := reflect.TypeOf(response); t == nil || t.Kind() != reflect.Pointer || t.Elem() != c.Endpoint.response {
		return fmt.Errorf("chassi: the response of %s is %v, want *%v", c.Endpoint.FullName(), t, c.Endpoint.response)
	}
	if c.Codec == nil { // on a client
		reflect.ValueOf(c.Response).Elem().Set(reflect.ValueOf(response).Elem())
	} else {
		c.Response = response
		if err := c.Codec.Encode(response); err != nil {
			return err
		}
	}
	c.answered = true
	return nil
}

// Context returns a copy of parent that carries the call. A transport calls it once per call.
func (c *Call) Context(parent context.Context) context.Context {
	if c.Binding != nil && c.Endpoint != nil && c.Endpoint.streams {
		c.Stream = NewStreamState()
	}
	c.parent = parent
	return (*callContext)(c)
}

// CallFrom returns the call that ctx carries, or nil.
func CallFrom(ctx context.Context) *Call {
	call, _ := ctx.Value(callKey{}).(*Call)
	return call
}
