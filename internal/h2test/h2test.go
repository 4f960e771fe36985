// Package h2test provides an HTTP/2 client for tests that sends arbitrary frames, including invalid
// ones.
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

// Client is an HTTP/2 client connection. The methods of Framer write frames to Out, a buffer that
// the caller must flush.
type Client struct {
	*http2.Framer

	Conn  net.Conn
	Out   *bufio.Writer
	Block bytes.Buffer // the header block that HPACK has written
	HPACK *hpack.Encoder

	stream uint32
}

// Dial connects to the server at addr, over TLS if c is not nil, and sends the client preface with
// the given settings. The connection has a deadline of 30 s and a receive buffer of 4 KiB, and is
// closed at the end of the test. Dial stops the test if an error occurs.
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

// Begin writes a HEADERS frame that begins a request on a new stream, and returns the ID of the
// stream. Each element of header is the name and the value of a field. If end is true, the request
// has no body. Begin returns an error if the fields cannot be encoded or the frame cannot be
// written.
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

// Repeat calls f up to n times, stops at the first error, and returns the number of calls without
// an error. After n such calls it flushes Out, and returns n-1 if that fails.
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

// Answered sends a PING frame and reads until the server acknowledges the frame or the connection
// ends. It reports whether the acknowledgment was received: the server has then read all earlier
// frames, and the connection is open. It reports a test error if reading exceeds the deadline of the
// connection.
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
				t.Error("got no acknowledgment of the PING frame and no end of the connection, want one of them")
			}
			return false
		}
		if ping, ok := frame.(*http2.PingFrame); ok && ping.Data == last {
			return true
		}
	}
}

// Ended reads and discards data until the connection ends. It reports a test error, which begins
// with name, if the connection does not end within limit.
func (c *Client) Ended(t *testing.T, name string, limit time.Duration) {
	t.Helper()
	began := time.Now()
	_ = c.Conn.SetReadDeadline(began.Add(limit))
	if _, err := io.Copy(io.Discard, c.Conn); err != nil && os.IsTimeout(err) {
		t.Errorf("%s: the connection is still open after %v, want it closed", name, limit)
		return
	}
	t.Logf("%s: the connection ended after %v", name, time.Since(began))
}

// Until calls ok every 5 ms until ok returns true. If that takes longer than limit, Until stops the
// test with a message that ends with the argument failure.
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

// Heap runs the garbage collector and returns the size of the allocated heap objects in bytes.
func Heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what a pool held
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
