package httpapi

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi/transport"
)

// limitedTCP is a TCP connection of a limitedListener. Its deadlines are lazy:
// net/http moves them some six times per request, nearly always to later, and each
// move costs the runtime's timers more than the rest of the request's routing.
// Here a later deadline is only remembered; when the earlier one rings, the call
// that it woke sets the remembered one and goes on.
type limitedTCP struct {
	*net.TCPConn
	listener    *limitedListener
	slot        transport.Slot
	read, write lazyDeadline
	idle        idleMeter
	stalled     atomic.Bool
}

type lazyDeadline struct {
	mu          sync.Mutex
	want, armed time.Time // zero for none
}

// move remembers t, and arms it with set if it is earlier than what is armed.
func (d *lazyDeadline) move(t time.Time, set func(time.Time) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.want = t
	if t.IsZero() || (!d.armed.IsZero() && !t.Before(d.armed)) {
		return nil
	}
	d.armed = t
	return set(t)
}

// rearm reports whether err is a deadline that rang before its time; if so the
// right one has been set.
func (d *lazyDeadline) rearm(err error, set func(time.Time) error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.want.IsZero() && !time.Now().Before(d.want) {
		return false
	}
	d.armed = d.want
	return set(d.want) == nil
}

// SetReadDeadline implements [net.Conn].
func (c *limitedTCP) SetReadDeadline(t time.Time) error {
	return c.read.move(t, c.TCPConn.SetReadDeadline)
}

// SetWriteDeadline implements [net.Conn].
func (c *limitedTCP) SetWriteDeadline(t time.Time) error {
	return c.write.move(t, c.TCPConn.SetWriteDeadline)
}

// SetDeadline implements [net.Conn].
func (c *limitedTCP) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// Read implements [net.Conn].
func (c *limitedTCP) Read(b []byte) (int, error) {
	for {
		n, err := c.TCPConn.Read(b)
		if flood := c.idle.take(n, c.listener.maxIdle); flood != nil {
			return 0, flood
		}
		if n > 0 || err == nil || !c.read.rearm(err, c.TCPConn.SetReadDeadline) {
			return n, err
		}
	}
}

// Write implements [net.Conn]. Once a deadline has ended one that cannot be taken
// up again, none waits any more: closing a connection with TLS would wait another
// 5 s to say so.
func (c *limitedTCP) Write(b []byte) (int, error) {
	if c.stalled.Load() {
		return 0, os.ErrDeadlineExceeded
	}
	written := 0
	for {
		n, err := c.TCPConn.Write(b[written:])
		written += n
		if err == nil {
			return written, nil
		}
		if !c.write.rearm(err, c.TCPConn.SetWriteDeadline) {
			if errors.Is(err, os.ErrDeadlineExceeded) && (written == 0 || c.listener.overTLS) {
				c.stalled.Store(true)
			}
			return written, err
		}
	}
}

// ReadFrom sends a file without copying it, if r is one. What it has read from r
// cannot be put back, so here the deadline must not ring early.
func (c *limitedTCP) ReadFrom(r io.Reader) (int64, error) {
	c.write.mu.Lock()
	c.write.armed = c.write.want
	err := c.TCPConn.SetWriteDeadline(c.write.want)
	c.write.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return c.TCPConn.ReadFrom(r)
}

// Close releases the connection's slot.
func (c *limitedTCP) Close() error {
	c.slot.Release()
	return c.TCPConn.Close()
}
