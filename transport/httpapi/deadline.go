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
	tcpMethods // of tcp
	tcp        *net.TCPConn

	listener    *limitedListener
	slot        transport.Slot
	read, write lazyDeadline
	idle        idleMeter
	stalled     atomic.Bool // writes fail at once, see Write

	unsentLimited sync.Once
}

// tcpMethods are the methods of a [net.TCPConn] that limitedTCP promotes. Those with which
// [net.Buffers] and a [syscall.RawConn] read or write are left out: they would not observe its
// deadlines.
type tcpMethods interface {
	net.Conn
	CloseRead() error
	CloseWrite() error
	SetKeepAlive(keep bool) error
	SetKeepAlivePeriod(d time.Duration) error
	SetLinger(seconds int) error
	SetNoDelay(no bool) error
	SetReadBuffer(bytes int) error
	SetWriteBuffer(bytes int) error
}

// lazyDeadline sets the deadline of a connection as seldom as possible. net/http moves its
// deadlines about six times per request, nearly always to a later time or while nothing waits, and
// each move of a timer of the runtime costs more than routing the request. A deadline is therefore
// only recorded, and the timer is set only if it would end a read or write too late: one that begins,
// or one that is already waiting. When the timer ends a read or write too early, extend sets the
// recorded deadline, and the read or write continues.
type lazyDeadline struct {
	mu      sync.Mutex
	want    time.Time // the deadline; zero for none
	armed   time.Time // the time that the runtime's timer is set to; zero for none
	waiting int       // reads or writes under way; while there are any, armed is not later than want
}

// move records the deadline t, and sets the timer if it would otherwise end a waiting read or write
// too late.
func (d *lazyDeadline) move(t time.Time, set func(time.Time) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.want = t
	if d.waiting == 0 || !d.late() {
		return nil
	}
	return d.arm(set)
}

// late reports whether the timer would end a read or write too late.
func (d *lazyDeadline) late() bool {
	return !d.want.IsZero() && (d.armed.IsZero() || d.want.Before(d.armed))
}

func (d *lazyDeadline) arm(set func(time.Time) error) error {
	d.armed = d.want
	return set(d.want)
}

// begin prepares a read or write: if the timer would end it too late, begin sets the timer, or fails
// if the deadline has passed. To end the read with which it watches for a disconnect, net/http sets
// a deadline in the past, mostly before that read has begun.
func (d *lazyDeadline) begin(set func(time.Time) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.late() {
		if !time.Now().Before(d.want) {
			return os.ErrDeadlineExceeded
		}
		if err := d.arm(set); err != nil {
			return err
		}
	}
	d.waiting++
	return nil
}

// exact is like begin, for a write that cannot be continued: it always sets the timer to the deadline.
func (d *lazyDeadline) exact(set func(time.Time) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.arm(set); err != nil {
		return err
	}
	d.waiting++
	return nil
}

func (d *lazyDeadline) end() {
	d.mu.Lock()
	d.waiting--
	d.mu.Unlock()
}

// extend sets the timer to the deadline if the timer has caused err and the deadline has not passed.
// It reports whether the read or write that failed with err is to be continued.
func (d *lazyDeadline) extend(err error, set func(time.Time) error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.want.IsZero() && !time.Now().Before(d.want) {
		return false
	}
	return d.arm(set) == nil
}

// SetReadDeadline implements [net.Conn].
func (c *limitedTCP) SetReadDeadline(t time.Time) error {
	return c.read.move(t, c.tcp.SetReadDeadline)
}

// SetWriteDeadline implements [net.Conn].
func (c *limitedTCP) SetWriteDeadline(t time.Time) error {
	return c.write.move(t, c.tcp.SetWriteDeadline)
}

// SetDeadline implements [net.Conn].
func (c *limitedTCP) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// Read implements [net.Conn].
func (c *limitedTCP) Read(b []byte) (int, error) {
	if err := c.read.begin(c.tcp.SetReadDeadline); err != nil {
		return 0, err
	}
	defer c.read.end()
	for {
		n, err := c.tcp.Read(b)
		if flood := c.idle.take(n, c.listener.maxIdle); flood != nil {
			return 0, flood
		}
		if err == nil || !c.read.extend(err, c.tcp.SetReadDeadline) {
			return n, err
		}
	}
}

// Write implements [net.Conn]. After a write has exceeded its deadline, over TLS or without having
// written a byte, all further writes fail at once: otherwise the alert that closes a TLS connection
// would wait for another 5 s.
func (c *limitedTCP) Write(b []byte) (int, error) {
	if c.stalled.Load() {
		return 0, os.ErrDeadlineExceeded
	}
	if err := c.write.begin(c.tcp.SetWriteDeadline); err != nil {
		return 0, c.stall(0, err)
	}
	defer c.write.end()
	written := 0
	for {
		n, err := c.tcp.Write(b[written:])
		written += n
		if err == nil {
			return written, nil
		}
		if c.write.extend(err, c.tcp.SetWriteDeadline) {
			continue
		}
		return written, c.stall(written, err)
	}
}

// stall returns err, the error of a write. If err is an exceeded deadline, further writes fail at
// once, see Write.
func (c *limitedTCP) stall(written int, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) && (written == 0 || c.listener.overTLS) {
		c.stalled.Store(true)
	}
	return err
}

// ReadFrom implements [io.ReaderFrom]. It sends a file without copying it. The bytes that it has
// read from r are lost if the write fails, so the timer must not end the write early.
func (c *limitedTCP) ReadFrom(r io.Reader) (int64, error) {
	if err := c.write.exact(c.tcp.SetWriteDeadline); err != nil {
		return 0, err
	}
	defer c.write.end()
	return c.tcp.ReadFrom(r)
}

// WriteTo implements [io.WriterTo] with reads that observe the deadline.
func (c *limitedTCP) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{c})
}

// Close closes the connection and releases its slot.
func (c *limitedTCP) Close() error {
	c.slot.Release()
	return c.tcp.Close()
}
