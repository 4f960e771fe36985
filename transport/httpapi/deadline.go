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

// limitedTCP is a TCP connection that a limitedListener has accepted. Its deadlines are of the type
// lazyDeadline.
type limitedTCP struct {
	tcpMethods // of tcp
	tcp        *net.TCPConn

	listener    *limitedListener
	slot        transport.Slot
	read, write lazyDeadline
	idle        idleMeter
	stalled     atomic.Bool // whether further calls of Write fail at once

	unsentLimited sync.Once
}

// tcpMethods are the methods of a [net.TCPConn] that limitedTCP promotes or overrides. The methods
// with which [net.Buffers] and [syscall.RawConn] read or write are left out, because they would not
// observe the deadlines of a limitedTCP.
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

// lazyDeadline is the read or write deadline of a connection. It sets the timer of the runtime as
// rarely as possible. The reason is that net/http changes its deadlines about six times per
// request, nearly always to a later time or while no read or write waits, and each change of the
// timer costs more than routing the request. A new deadline is therefore only recorded. The timer
// is set when a read or write begins or is already waiting, and, except by exact, only if the timer
// would otherwise end it too late. When the timer ends a read or write too early, extend sets the
// timer to the recorded deadline, and the read or write continues.
type lazyDeadline struct {
	mu      sync.Mutex
	want    time.Time // the deadline; zero for none
	armed   time.Time // the time that the runtime's timer is set to; zero for none
	waiting int       // number of pending reads or writes; if not 0, armed is not after want
}

// move records the deadline t, and sets the timer if the timer would otherwise end a waiting read
// or write too late. It returns the error of set.
func (d *lazyDeadline) move(t time.Time, set func(time.Time) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.want = t
	if d.waiting == 0 || !d.late() {
		return nil
	}
	return d.arm(set)
}

// late reports whether the timer would end a read or write too late, that is, after the deadline.
func (d *lazyDeadline) late() bool {
	return !d.want.IsZero() && (d.armed.IsZero() || d.want.Before(d.armed))
}

func (d *lazyDeadline) arm(set func(time.Time) error) error {
	d.armed = d.want
	return set(d.want)
}

// begin prepares a read or write. If the timer would end the read or write too late, begin sets the
// timer, or returns [os.ErrDeadlineExceeded] if the deadline has passed. The latter is common:
// net/http sets a deadline in the past to end the read with which it watches for a disconnect,
// usually before that read has begun.
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

// exact prepares a write that cannot be continued after a timeout. It always sets the timer to the
// deadline, so that the timer does not end the write early.
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

// extend sets the timer to the deadline if err was caused by the timer and the deadline has not
// passed. It reports whether the read or write that failed with err is to be continued.
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

// Write implements [net.Conn]. After a call of Write has exceeded its deadline, over TLS or without
// having written a byte, further calls fail at once. Otherwise, the alert that closes a TLS
// connection would wait for another 5 s.
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

// stall returns err, the error of a write that has written the given number of bytes. It makes
// further calls of Write fail at once if err is an exceeded deadline and either no byte was written
// or the connection uses TLS.
func (c *limitedTCP) stall(written int, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) && (written == 0 || c.listener.overTLS) {
		c.stalled.Store(true)
	}
	return err
}

// ReadFrom implements [io.ReaderFrom]. It can send a file without copying it to user space. If the
// write fails, the bytes that were read from r are lost, so the timer must not end the write early.
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
