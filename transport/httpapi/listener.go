package httpapi

import (
	"io"
	"net"
	"sync/atomic"
	"time"
)

// limitedListener keeps at most max connections open. Further ones are told 503
// and closed, instead of waiting in the dark. It passes the other's errors on:
// net/http itself waits longer and longer while file descriptors are short.
type limitedListener struct {
	net.Listener
	max       int64
	maxIdle   int64 // bytes without a call
	overTLS   bool
	open      atomic.Int64
	refused   atomic.Int64
	lingering atomic.Int64
}

const (
	// lingerTime is how long a refused client has to take its answer.
	lingerTime = 250 * time.Millisecond
	// maxLingering bounds the refusals under way: beyond, clients are cut off.
	maxLingering = 64
	// lingerBytes is how much of a refused request is read away.
	lingerBytes = 16 << 10
)

// refusal is all that a connection too many is told.
var refusal = []byte("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")

func limitListener(l net.Listener, maximum int, overTLS bool) *limitedListener {
	return &limitedListener{Listener: l, max: int64(maximum), maxIdle: maxIdleBytes, overTLS: overTLS}
}

// counts returns how many connections are open now, and how many were refused so
// far.
func (l *limitedListener) counts() (open, refused int64) {
	return l.open.Load(), l.refused.Load()
}

// Accept returns the next connection that there is room for.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.max {
			return l.limited(conn), nil
		}
		l.open.Add(-1)
		l.refuse(conn)
	}
}

// refuse never waits. Over TLS there is nothing to say before a handshake, which
// is what a refusal has to spare.
func (l *limitedListener) refuse(conn net.Conn) {
	l.refused.Add(1)
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
func (l *limitedListener) limited(conn net.Conn) net.Conn {
	if tcp, ok := conn.(*net.TCPConn); ok {
		return &limitedTCP{TCPConn: tcp, place: place{listener: l}}
	}
	return &limitedConn{Conn: conn, place: place{listener: l}}
}

// place is one of a listener's max.
type place struct {
	listener *limitedListener
	left     atomic.Bool
}

func (p *place) leave() {
	if p.left.CompareAndSwap(false, true) {
		p.listener.open.Add(-1)
	}
}

type limitedConn struct {
	net.Conn
	place place
}

// Close frees the connection's place.
func (c *limitedConn) Close() error {
	c.place.leave()
	return c.Conn.Close()
}
