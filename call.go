package chassi

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"reflect"
	"time"
)

// Call is the state of one call of an endpoint, on a server or on a client. It passes through the
// middleware of that side. On a server the transport creates the Call before it reads the body of
// the request. A Call is not safe for concurrent use and must not be retained after the call.
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
	Response  any        // pointer to the typed response; on a server set by Respond, or nil

	Codec Codec // decodes the request and encodes the response; nil on a client

	// Stream is the state of a call to a streaming endpoint ([NewStream]), nil for any other call.
	Stream *Stream

	answered bool            // whether there is a response to send
	parent   context.Context //nolint:containedctx // of the context that carries the call
}

// Metadata holds the key-value pairs of a message. Keys are case-insensitive. If the transport
// can carry several values per key, the implementation also has a method Values(key string)
// []string.
type Metadata interface {
	// Get returns the first value of key, or "" if there is none.
	Get(key string) string
	// Set replaces all values of key with value. A pair that cannot be sent is dropped or fails the call.
	Set(key, value string)
}

// Codec decodes and encodes the messages of one call. Transports implement it.
type Codec interface {
	// Decode decodes the message into request, a pointer to the endpoint's request type. It
	// returns an [*Error] if the message is malformed or too large.
	Decode(request any) error
	// Encode encodes response, a pointer to the endpoint's response type, or returns an error if
	// that fails. The transport sends the encoded response after the middleware has returned nil.
	Encode(response any) error
}

type callKey struct{}

// callContext is a [Call] that is also the context that carries it, which saves an allocation.
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

// Source returns the key by which rate limits count the call: the client's IPv4 address,
// the /64 prefix of its IPv6 address (the smallest allocation to a customer, RFC 6177),
// or [Call.PeerName] if there is no address. It returns "" for an in-process call that is
// not part of another call. All anonymous clients of a broker share one source.
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

// Respond sets response, a pointer to the endpoint's response type, as the response of
// the call. It returns an error if response has another type or cannot be encoded, or if
// the endpoint is a stream. The endpoint calls Respond with the result of its function. A
// middleware that responds without calling next must call Respond before it returns nil.
func (c *Call) Respond(response any) error {
	if c.Endpoint.streams {
		return fmt.Errorf("chassi: %s is a stream: a middleware cannot respond to it", c.Endpoint.FullName())
	}
	if t := reflect.TypeOf(response); t == nil || t.Kind() != reflect.Pointer || t.Elem() != c.Endpoint.response {
		return fmt.Errorf("chassi: the response of %s has type %v, want *%v", c.Endpoint.FullName(), t, c.Endpoint.response)
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

// Context returns a copy of parent that carries the call. A transport calls Context once per call.
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
