package grpcapi

import (
	"errors"
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi/transport"
)

// listener limits the number of open connections. It closes further connections at once, so that a
// client tries another server or retries later.
type listener struct {
	net.Listener

	connections  *transport.Connections
	writeTimeout time.Duration
	guards       sync.Map // net.Addr of a client, compared as a pointer, to *guard
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

// conn is a connection of a listener. It is closed if its client reads nothing for writeTimeout,
// because grpc-go would wait for the client indefinitely.
type conn struct {
	net.Conn

	listener *listener
	slot     transport.Slot
	armed    atomic.Int64 // write deadline in Unix ns; math.MaxInt64 if set by grpc-go
}

// Write implements [net.Conn]. It extends the write deadline if less than three quarters of
// writeTimeout remains, and closes the connection if the deadline passes.
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
		_ = c.Close() // grpc-go leaves the close to its reader, which does not notice the failure
	}
	return n, err
}

// SetDeadline implements [net.Conn]. Write does not change a deadline that grpc-go sets.
func (c *conn) SetDeadline(t time.Time) error {
	err := c.Conn.SetDeadline(t)
	c.hold(t)
	return err
}

// SetWriteDeadline implements [net.Conn]. Write does not change a deadline that grpc-go sets.
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

// Close implements [net.Conn]. It closes the connection and releases its slot.
func (c *conn) Close() error {
	c.listener.guards.Delete(c.RemoteAddr())
	c.slot.Release()
	return c.Conn.Close()
}
