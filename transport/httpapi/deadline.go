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

// limitedTCP is a TCP connection of a limitedListener. Its deadlines are lazy, see
// lazyDeadline.
type limitedTCP struct {
	*net.TCPConn
	listener    *limitedListener
	slot        transport.Slot
	read, write lazyDeadline
	idle        idleMeter
	stalled     atomic.Bool // writes fail at once, see Write

	unsentLimited sync.Once
}

// lazyDeadline sets the deadline of a connection as seldom as possible. net/http moves its
// deadlines about six times per request, nearly always to a later time, and each move of a
// timer of the runtime costs more than routing the request. A later deadline is therefore
// only recorded. When the timer ends a read or write too early, extend sets the recorded
// deadline, and the read or write continues.
type lazyDeadline struct {
	mu    sync.Mutex
	want  time.Time // the deadline; zero for none
	armed time.Time // the time that the runtime's timer is set to, not later than want
}

// move records the deadline t, and sets the timer if that would be too late.
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

// extend sets the timer to the deadline if it has not passed and err comes from an earlier
// timer. It reports whether the read or write that failed is to be continued.
func (d *lazyDeadline) extend(err error, set func(time.Time) error) bool {
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

// arm sets the timer to the deadline.
func (d *lazyDeadline) arm(set func(time.Time) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.armed = d.want
	return set(d.want)
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
		if err == nil || !c.read.extend(err, c.TCPConn.SetReadDeadline) {
			return n, err
		}
	}
}

// Write implements [net.Conn]. After a write whose deadline has passed and that cannot be
// continued, all writes fail at once: otherwise the alert that closes a TLS connection
// would wait for another 5 s.
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
		if c.write.extend(err, c.TCPConn.SetWriteDeadline) {
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && (written == 0 || c.listener.overTLS) {
			c.stalled.Store(true)
		}
		return written, err
	}
}

// ReadFrom implements [io.ReaderFrom]. It sends a file without copying it. The bytes that it
// has read from r are lost if the write fails, so the timer must not end it early.
func (c *limitedTCP) ReadFrom(r io.Reader) (int64, error) {
	if err := c.write.arm(c.TCPConn.SetWriteDeadline); err != nil {
		return 0, err
	}
	return c.TCPConn.ReadFrom(r)
}

// Close releases the connection's slot.
func (c *limitedTCP) Close() error {
	c.slot.Release()
	return c.TCPConn.Close()
}
