package grpcapi

import (
	"errors"
	"math"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi/transport"
)

// listener bounds the open connections. Further ones are closed at once, which tells a
// client to try another server or later.
type listener struct {
	net.Listener

	connections  *transport.Connections
	writeTimeout time.Duration
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		limited := &conn{Conn: c, listener: l}
		if l.connections.Acquire(&limited.slot, c.RemoteAddr()) {
			return limited, nil
		}
		_ = c.Close()
	}
}

// conn is a connection of a listener. A client that takes nothing for
// writeTimeout is cut off; grpc-go itself waits for it without an end.
type conn struct {
	net.Conn

	listener *listener
	slot     transport.Slot
	armed    atomic.Int64 // when writing ends, in Unix ns
}

// Write implements [net.Conn]. A deadline that still is far away is not moved.
func (c *conn) Write(b []byte) (int, error) {
	now, timeout := time.Now(), c.listener.writeTimeout
	if c.armed.Load() < now.Add(timeout*3/4).UnixNano() {
		c.armed.Store(now.Add(timeout).UnixNano())
		if err := c.Conn.SetWriteDeadline(now.Add(timeout)); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Write(b)
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		_ = c.Close() // grpc-go leaves the end to its reader, which knows nothing of it
	}
	return n, err
}

// SetDeadline implements [net.Conn]. One that others set goes before that of Write.
func (c *conn) SetDeadline(t time.Time) error {
	err := c.Conn.SetDeadline(t)
	c.hold(t)
	return err
}

// SetWriteDeadline implements [net.Conn].
func (c *conn) SetWriteDeadline(t time.Time) error {
	err := c.Conn.SetWriteDeadline(t)
	c.hold(t)
	return err
}

func (c *conn) hold(t time.Time) {
	if t.IsZero() {
		c.armed.Store(0)
	} else {
		c.armed.Store(math.MaxInt64)
	}
}

// Close releases the connection's slot.
func (c *conn) Close() error {
	c.slot.Release()
	return c.Conn.Close()
}
