package httpapi

import (
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi/transport"
)

// limitedListener limits the number of open connections. Further connections are closed instead of
// waiting, without TLS after a response with 503. Errors of the underlying listener are passed on:
// net/http retries with increasing delays while file descriptors are exhausted.
type limitedListener struct {
	net.Listener
	connections *transport.Connections
	maxIdle     int64 // bytes that a connection may send without a call in flight
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

// refusal is the response to a connection that exceeds the limit.
var refusal = []byte("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")

func limitListener(l net.Listener, connections *transport.Connections, overTLS bool) *limitedListener {
	return &limitedListener{Listener: l, connections: connections, maxIdle: maxIdleBytes, overTLS: overTLS}
}

// Accept returns the next connection within the limits.
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

// refuse closes a connection that exceeds the limits, if possible after sending refusal. It does not
// block. A TLS connection is closed without a response, because a response would require a
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

// reject sends refusal and closes the connection. It reads the request first, because closing a
// connection with unread bytes resets it, and the client may then lose the response.
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

// limited returns conn as a connection that releases its slot when it is closed, and the slot. It
// preserves the methods of a TCP connection that net/http uses: CloseWrite, to end a response before
// the request has ended, and ReadFrom, to send files.
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
