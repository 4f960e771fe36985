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

// connection is what stands in the context of all requests of one.
type connection struct {
	peer          netip.AddrPort // parsed once
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

// below returns what carries conn, if that is TLS.
func below(conn net.Conn) net.Conn {
	if secure, ok := conn.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return conn
}

// ended counts a call of HTTP/2 that is over. A client that has reset more than
// most of its calls, and more than half of them, costs work that nobody wants: its
// connection is closed. Half, because who hedges or types ahead resets many.
func (c *connection) ended(ctx context.Context, most int64) {
	calls := c.calls.Add(1)
	if ctx.Err() == nil {
		return
	}
	if resets := c.resets.Add(1); resets > most && 2*resets > calls {
		_ = c.tcp.Close() // nobody listens
	}
}

// maxIdleBytes bounds what a connection sends while it has no call, the header of
// the next one aside. Of HTTP/2 that can be no more than frames that serve the
// connection itself and the rest of bodies that were refused.
const maxIdleBytes = 4 << 20

var errIdleFlood = errors.New("httpapi: too many bytes without a call")

// idleMeter counts the bytes that come while no call is under way. The zero value
// counts from the first byte.
type idleMeter struct{ bytes atomic.Int64 }

// take returns an error when n bytes more are too many.
func (m *idleMeter) take(n int, most int64) error {
	if m.bytes.Add(int64(n)) > most {
		return errIdleFlood
	}
	return nil
}

// watchState starts and stops the idle meter of conn. For HTTP/2 net/http says
// active with the first call of several and idle after the last.
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
	default: // the others end it or change nothing
	}
}
