package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"math"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
)

// connection is the state of one connection. It is a value of the contexts of all requests on the
// connection.
type connection struct {
	peer          netip.AddrPort // address of the other end, parsed once
	tcp           *limitedTCP
	calls, resets atomic.Int64
}

type connectionKey struct{}

func withConnection(ctx context.Context, conn net.Conn) context.Context {
	tcp, ok := below(conn).(*limitedTCP)
	if !ok {
		return ctx
	}
	c := &connection{tcp: tcp}
	if addr, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		c.peer = addr.AddrPort()
	}
	return context.WithValue(ctx, connectionKey{}, c)
}

// below returns the connection underneath TLS, or conn itself without TLS.
func below(conn net.Conn) net.Conn {
	if secure, ok := conn.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return conn
}

// ended counts a completed HTTP/2 call with the request context ctx, and counts a reset if ctx is
// done. It closes the connection if the number of resets exceeds both most and half the number of
// calls, because such a client causes useless work. The threshold is half, because clients with
// hedged requests or search-as-you-type reset many calls.
func (c *connection) ended(ctx context.Context, most int64) {
	calls := c.calls.Add(1)
	if ctx.Err() == nil {
		return
	}
	if resets := c.resets.Add(1); resets > most && 2*resets > calls {
		_ = c.tcp.Close() // the client does not read
	}
}

// maxIdleBytes is the maximum number of bytes that a client may send on a connection without a call
// in flight, not counting the next header. Over HTTP/2 such bytes are control frames and the rest
// of refused bodies.
const maxIdleBytes = 4 << 20

var errIdleFlood = errors.New("httpapi: the client has sent too many bytes without a call in flight")

// idleMeter counts the bytes received while no call is in flight. The zero value counts from
// the first byte.
type idleMeter struct{ bytes atomic.Int64 }

// take counts n bytes, and returns errIdleFlood if the number of counted bytes exceeds most.
func (m *idleMeter) take(n int, most int64) error {
	if m.bytes.Add(int64(n)) > most {
		return errIdleFlood
	}
	return nil
}

// watchState starts the idle meter of conn if state is StateIdle, and stops it if state is
// StateActive. For HTTP/2, net/http reports StateActive when the first of several concurrent calls
// begins, and StateIdle when the last one has ended.
func watchState(conn net.Conn, state http.ConnState) {
	tcp, ok := below(conn).(*limitedTCP)
	if !ok {
		return
	}
	switch state {
	case http.StateActive:
		tcp.idle.bytes.Store(math.MinInt64 / 2)
	case http.StateIdle:
		tcp.idle.bytes.Store(0)
	default: // other states end the connection or change nothing
	}
}
