package httpapi

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/transport"
)

// listen starts a limited listener and hands each connection that it accepts to
// the channel.
func listen(t *testing.T, maximum int, overTLS bool) (*limitedListener, <-chan net.Conn) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, accepted := limitListener(inner, transport.NewConnections(maximum, maximum, nil), overTLS), make(chan net.Conn)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(accepted)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	})
	t.Cleanup(func() {
		l.Close()
		for conn := range accepted {
			conn.Close()
		}
		wg.Wait()
	})
	return l, accepted
}

func dial(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn
}

// The request is there before it is refused: closing on it would reset the
// connection and lose the response.
func TestRefusedClientReadsItsResponse(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn := dial(t, inner)
	if _, err := io.WriteString(conn, "POST /v1/auth HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n"+strings.Repeat("x", 9000)); err != nil {
		t.Fatal(err)
	}
	l := limitListener(inner, transport.NewConnections(0, 0, nil), false)
	ended := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		ended <- err
	}()
	expectRefusal(t, conn)
	l.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept ended with %v", err)
	}
}

func expectRefusal(t *testing.T, conn net.Conn) {
	t.Helper()
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("a refused client: %v", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "1" || !resp.Close {
		t.Errorf("refusal: %s %v", resp.Status, resp.Header)
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("after the refusal: %v, want EOF", err)
	}
}

// A request that comes with the response or after is taken: up to a size and a time.
func TestRefusalTakesTheRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		go reject(there)
		if _, err := io.ReadFull(here, make([]byte, len(refusal))); err != nil {
			t.Fatal(err)
		}
		if _, err := here.Write(make([]byte, lingerBytes-1)); err != nil {
			t.Errorf("the request: %v", err)
		}
		began := time.Now()
		if _, err := here.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || time.Since(began) != lingerTime {
			t.Errorf("after %v: %v, want EOF after %v", time.Since(began), err, lingerTime)
		}
	})
}

// Fault 26: a connection too many is refused, not left waiting.
func TestLimitListenerRefusesFault26(t *testing.T) {
	t.Parallel()
	l, accepted := listen(t, 1, false)
	dial(t, l)
	first := <-accepted

	expectRefusal(t, dial(t, l))
	if open, refused := l.connections.Counts(); open != 1 || refused != 1 {
		t.Errorf("counts: %d open, %d refused", open, refused)
	}

	first.Close()
	first.Close() // frees one place, not two
	dial(t, l)
	again := <-accepted
	defer again.Close()
	if open, _ := l.connections.Counts(); open != 1 {
		t.Errorf("%d open after one was replaced", open)
	}
}

// Clients that take no response must not hold the others up.
func TestLimitListenerIsNotHeldUp(t *testing.T) {
	t.Parallel()
	l, accepted := listen(t, 1, false)
	dial(t, l)
	first := <-accepted
	const silent = 3 * maxLingering
	conns := make([]net.Conn, silent)
	for i := range conns {
		conns[i] = dial(t, l)
	}
	for _, conn := range conns {
		if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("a refused client: %v", err)
		}
	}
	if _, refused := l.connections.Counts(); refused != silent {
		t.Errorf("%d refused, want %d", refused, silent)
	}
	first.Close()
	dial(t, l)
	again := <-accepted
	again.Close()
}

func TestLimitListenerOverTLSJustCloses(t *testing.T) {
	t.Parallel()
	l, accepted := listen(t, 1, true)
	dial(t, l)
	first := <-accepted
	defer first.Close()
	said, err := io.ReadAll(dial(t, l))
	if err != nil || len(said) > 0 {
		t.Errorf("refused over TLS: %q, %v", said, err)
	}
}

// net/http looks for these methods to end responses early and to send files.
func TestLimitedConnectionIsStillTCP(t *testing.T) {
	t.Parallel()
	l, accepted := listen(t, 1, false)
	dial(t, l)
	conn := <-accepted
	defer conn.Close()
	if _, ok := conn.(interface{ CloseWrite() error }); !ok {
		t.Error("no CloseWrite")
	}
	if _, ok := conn.(io.ReaderFrom); !ok {
		t.Error("no ReadFrom")
	}
}

func TestLimitListenerAcceptsOtherConnections(t *testing.T) {
	t.Parallel()
	here, there := net.Pipe()
	defer there.Close()
	l := limitListener(&scriptedListener{conns: []net.Conn{here}}, transport.NewConnections(1, 1, nil), false)
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	conn.Close()
	if open, _ := l.connections.Counts(); open != 0 {
		t.Errorf("%d open", open)
	}
}

// scriptedListener hands out conns, then fails as a process without file
// descriptors does, until it is closed.
type scriptedListener struct {
	conns  []net.Conn
	fails  int
	closed chan struct{}
}

func (s *scriptedListener) Accept() (net.Conn, error) {
	if len(s.conns) > 0 {
		conn := s.conns[0]
		s.conns = s.conns[1:]
		return conn, nil
	}
	select {
	case <-s.closed:
		return nil, net.ErrClosed
	default:
		s.fails++
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
}

func (s *scriptedListener) Close() error { close(s.closed); return nil }

func (s *scriptedListener) Addr() net.Addr { return &net.TCPAddr{} }

// The waiting is net/http's: this holds it to that.
func TestAcceptDoesNotSpinWithoutDescriptors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inner := &scriptedListener{closed: make(chan struct{})}
		server := &http.Server{ReadHeaderTimeout: time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
		ended := make(chan error, 1)
		go func() { ended <- server.Serve(limitListener(inner, transport.NewConnections(10, 10, nil), false)) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		if inner.fails < 10 || inner.fails > 100 {
			t.Errorf("%d tries in a minute, want about one a second", inner.fails)
		}
		server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve ended with %v", err)
		}
	})
}

// stepConn records what is done with a connection.
type stepConn struct {
	net.Conn
	steps    []string
	writeErr error
}

func (c *stepConn) step(name string) { c.steps = append(c.steps, name) }

func (c *stepConn) SetDeadline(time.Time) error { c.step("deadline"); return nil }
func (c *stepConn) Write(b []byte) (int, error) { c.step("write"); return len(b), c.writeErr }
func (c *stepConn) CloseWrite() error           { c.step("close write"); return nil }
func (c *stepConn) Read([]byte) (int, error)    { c.step("read"); return 0, io.EOF }
func (c *stepConn) Close() error                { c.step("close"); return nil }

// A refusal ends with its half of the connection, so that the client need not wait for the
// rest of it.
func TestStepsOfARefusal(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{"deadline, write, close write, read, close": nil, "deadline, write, close": io.ErrClosedPipe} {
		c := &stepConn{writeErr: err}
		if reject(c); strings.Join(c.steps, ", ") != want {
			t.Errorf("%q, want %q", c.steps, want)
		}
	}
}

// Refusals beyond the most at once, and those over TLS, only close the connection, and do not
// count.
func TestRefusalsAtOnceAreBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		overTLS   bool
		lingering int64
		answered  bool
	}{{false, 0, true}, {false, maxLingering - 1, true}, {false, maxLingering, false}, {true, 0, false}} {
		synctest.Test(t, func(t *testing.T) {
			l := limitListener(nil, nil, c.overTLS)
			l.lingering.Store(c.lingering)
			conn := &stepConn{}
			l.refuse(conn)
			synctest.Wait()
			if answered := len(conn.steps) > 1; answered != c.answered || conn.steps[len(conn.steps)-1] != "close" || l.lingering.Load() != c.lingering {
				t.Errorf("%+v: %q, %d lingering", c, conn.steps, l.lingering.Load())
			}
		})
	}
}
