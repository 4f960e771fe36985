// Package h2test sends arbitrary HTTP/2 frames, including invalid ones.
package h2test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Client is one connection. Frames are written to Out, which must be flushed.
type Client struct {
	*http2.Framer

	Conn  net.Conn
	Out   *bufio.Writer
	Block bytes.Buffer // the header block that HPACK has encoded
	HPACK *hpack.Encoder

	stream uint32
}

// Dial connects, over TLS unless c is nil, and sends the preface with settings. The connection
// has a deadline of 30 s and a small receive buffer.
func Dial(t *testing.T, addr string, c *tls.Config, settings ...http2.Setting) *Client {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(4096)
	}
	if c != nil {
		c = c.Clone()
		c.ServerName = "127.0.0.1"
		conn = tls.Client(conn, c)
	}
	t.Cleanup(func() { _ = conn.Close() })
	a := &Client{Conn: conn, Out: bufio.NewWriterSize(conn, 32<<10), stream: 1}
	a.Framer = http2.NewFramer(a.Out, conn)
	a.HPACK = hpack.NewEncoder(&a.Block)
	a.Extend()
	_, _ = io.WriteString(a.Out, http2.ClientPreface)
	if err := a.WriteSettings(settings...); err != nil {
		t.Fatal(err)
	}
	if err := a.Out.Flush(); err != nil {
		t.Fatal(err)
	}
	return a
}

// Extend moves the deadline of the connection to 30 s from now.
func (c *Client) Extend() { _ = c.Conn.SetDeadline(time.Now().Add(30 * time.Second)) }

// Begin writes the header of a call, given as pairs of name and value, and returns the ID of its
// stream. If end is true, the call has no body.
func (c *Client) Begin(end bool, header ...[2]string) (uint32, error) {
	c.Block.Reset()
	for _, f := range header {
		if err := c.HPACK.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			return 0, err
		}
	}
	id := c.stream
	c.stream += 2
	return id, c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.Block.Bytes(), EndHeaders: true, EndStream: end})
}

// Repeat calls f until f fails or has been called n times, and returns the number of calls without an
// error. It flushes Out after n calls; if that fails, it returns n-1.
func (c *Client) Repeat(n int, f func() error) int {
	for i := range n {
		if f() != nil {
			return i
		}
	}
	if c.Out.Flush() != nil {
		return n - 1
	}
	return n
}

// Answered reads until the server has processed all sent frames or closed the connection. It reports
// whether the connection is still open.
func (c *Client) Answered(t *testing.T) (open bool) {
	t.Helper()
	last := [8]byte{'l', 'a', 's', 't'}
	if c.WritePing(false, last) != nil || c.Out.Flush() != nil {
		return false
	}
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			if os.IsTimeout(err) {
				t.Error("no response and no end")
			}
			return false
		}
		if ping, ok := frame.(*http2.PingFrame); ok && ping.Data == last {
			return true
		}
	}
}

// Ended reads until the connection ends. It reports a test error, which begins with name, if the
// connection does not end within limit.
func (c *Client) Ended(t *testing.T, name string, limit time.Duration) {
	t.Helper()
	began := time.Now()
	_ = c.Conn.SetReadDeadline(began.Add(limit))
	if _, err := io.Copy(io.Discard, c.Conn); err != nil && os.IsTimeout(err) {
		t.Errorf("%s: the connection is open after %v", name, limit)
	}
	t.Logf("%s: the connection ended after %v", name, time.Since(began))
}

// Until waits until ok returns true. After limit it fails the test with the text failure.
func Until(t *testing.T, limit time.Duration, ok func() bool, failure string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(limit)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("after %v %s", limit, failure)
		}
	}
}

// Heap returns the number of bytes of the heap in use after garbage collection.
func Heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what a pool held
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
