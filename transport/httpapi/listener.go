package httpapi

import (
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi/transport"
)

// limitedListener bounds the open connections. Further ones get 503 and are closed,
// instead of waiting without an answer. It passes errors of the listener below on:
// net/http itself waits longer and longer while file descriptors are short.
type limitedListener struct {
	net.Listener
	connections *transport.Connections
	maxIdle     int64 // bytes without a call
	overTLS     bool
	lingering   atomic.Int64
}

const (
	// lingerTime is how long a refused client has to take its answer.
	lingerTime = 250 * time.Millisecond
	// maxLingering bounds the refusals under way: beyond, clients are cut off.
	maxLingering = 64
	// lingerBytes is how much of a refused request is read away.
	lingerBytes = 16 << 10
)

// refusal is the answer to a connection too many.
var refusal = []byte("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")

func limitListener(l net.Listener, connections *transport.Connections, overTLS bool) *limitedListener {
	return &limitedListener{Listener: l, connections: connections, maxIdle: maxIdleBytes, overTLS: overTLS}
}

// Accept returns the next connection that there is room for.
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

// refuse never waits. Over TLS there is nothing to say before a handshake, which
// is what a refusal has to spare.
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
		sayNo(conn)
	}()
}

// sayNo reads the request away, because closing a connection with unread bytes
// resets it, and a reset takes the answer with it.
func sayNo(conn net.Conn) {
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

// limited keeps a TCP connection one, for the methods that net/http looks for:
// CloseWrite, to end an answer before the request has ended, and ReadFrom, to
// send files.
func (l *limitedListener) limited(conn net.Conn) (net.Conn, *transport.Slot) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		c := &limitedTCP{TCPConn: tcp, listener: l}
		return c, &c.slot
	}
	c := &limitedConn{Conn: conn}
	return c, &c.slot
}

type limitedConn struct {
	net.Conn
	slot transport.Slot
}

// Close releases the connection's slot.
func (c *limitedConn) Close() error {
	c.slot.Release()
	return c.Conn.Close()
}
