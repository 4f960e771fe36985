package httpapi

import (
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi/transport"
)

// limitedListener is a listener with limits on the number of open connections. It closes further
// connections instead of letting them wait; without TLS, it first sends a response with 503, if
// possible. It returns the errors of the underlying listener unchanged: net/http retries with
// increasing delays while file descriptors are exhausted.
type limitedListener struct {
	net.Listener
	connections *transport.Connections
	maxIdle     int64 // maximum number of bytes that a connection may send without a call in flight
	overTLS     bool
	lingering   atomic.Int64
}

const (
	// lingerTime is how long a refused client may take to read the response.
	lingerTime = 250 * time.Millisecond
	// maxLingering is the maximum number of refusals in progress; further connections are
	// closed at once.
	maxLingering = 64
	// lingerBytes is the maximum number of bytes read from a refused request.
	lingerBytes = 16 << 10
)

// refusal is the response to a connection that exceeds a limit.
var refusal = []byte("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")

func limitListener(l net.Listener, connections *transport.Connections, overTLS bool) *limitedListener {
	return &limitedListener{Listener: l, connections: connections, maxIdle: maxIdleBytes, overTLS: overTLS}
}

// Accept implements [net.Listener]. It returns the next connection within the limits, and refuses
// the connections that exceed them.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		limited, slot := l.limited(conn)
		if l.connections.Acquire(slot, conn.RemoteAddr()) {
			return limited, nil
		}
		l.refuse(conn)
	}
}

// refuse closes a connection that exceeds the limits, if possible after sending refusal. It does
// not block. A TLS connection is closed without a response, because a response would require a
// handshake.
func (l *limitedListener) refuse(conn net.Conn) {
	if l.overTLS || l.lingering.Add(1) > maxLingering {
		if !l.overTLS {
			l.lingering.Add(-1)
		}
		_ = conn.Close()
		return
	}
	go func() {
		defer l.lingering.Add(-1)
		reject(conn)
	}()
}

// reject sends refusal, reads the request, and closes the connection. If the request were not read,
// closing would reset the connection, and the client might lose the response.
func reject(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(lingerTime))
	if _, err := conn.Write(refusal); err != nil {
		return
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_, _ = io.CopyN(io.Discard, conn, lingerBytes)
}

// limited returns a connection that wraps conn, and the slot that this connection releases when it
// is closed. The wrapper of a TCP connection preserves the methods that net/http uses: CloseWrite,
// to end a response before the request has ended, and ReadFrom, to send files.
func (l *limitedListener) limited(conn net.Conn) (net.Conn, *transport.Slot) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		c := &limitedTCP{tcpMethods: tcp, tcp: tcp, listener: l}
		return c, &c.slot
	}
	c := &limitedConn{Conn: conn}
	return c, &c.slot
}

type limitedConn struct {
	net.Conn
	slot transport.Slot
}

// Close closes the connection and releases its slot.
func (c *limitedConn) Close() error {
	c.slot.Release()
	return c.Conn.Close()
}
