package httpapi

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chassi-go/chassi/internal/h2test"
	"golang.org/x/net/http2"
)

// crowd is how many connections of a kind a test opens: 1,000, or what the limit
// of open files lets (each has two ends here).
func crowd(t *testing.T, kinds int) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	n := min(1000, (int(limit.Cur)-400)/2/kinds)
	if n < 20 {
		t.Skipf("the limit of %d open files is too low: raise it (ulimit -n)", limit.Cur)
	}
	return n
}

// dialMany opens n connections and sends raw on each.
func dialMany(t *testing.T, s *target, n int, raw string) {
	t.Helper()
	for range n {
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.(*net.TCPConn).SetReadBuffer(4096)
		if _, err := io.WriteString(conn, raw); err != nil {
			t.Fatal(err)
		}
	}
}

// grace is how late a timeout may be on a busy machine; on another it is at most a second.
const grace = 6 * time.Second

// Fault 22: 1,000 each of slow headers, slow bodies and slow readers are closed within their
// timeout and a second, and no other client fails.
func TestFault22ThreeThousandSlowClients(t *testing.T) { // alone: it takes many files
	c := Config{ReadHeaderTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: 2 * time.Second}
	n := crowd(t, 1)
	s := serveTarget(t, c, false)
	stop := s.beside(t)
	for _, kind := range []struct {
		raw     string
		timeout time.Duration
	}{
		{"POST /read HTTP/1.1\r\nHost: x\r\nX-A: ", c.ReadHeaderTimeout},
		{"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx", c.ReadTimeout},
		{"GET /large HTTP/1.1\r\nHost: x\r\n\r\n", c.WriteTimeout},
	} {
		dialMany(t, s, n, kind.raw)
		began := time.Now()
		h2test.Until(t, kind.timeout+grace, func() bool { open, _ := s.Connections(); return open <= 1 }, "slow connections are open")
		t.Logf("%d closed %v after the last began: %.12q", n, time.Since(began), kind.raw)
	}
	s.quiet(t)
	stop()
}

// Fault 22: over HTTP/2 a header that does not end is cut off after ReadTimeout
// and ReadHeaderTimeout, because net/http has no deadline for it but that of a ping;
// so is a client that takes no byte, after WriteTimeout.
func TestFault22SlowHTTP2(t *testing.T) {
	t.Parallel()
	c := hasty
	c.IdleTimeout = time.Minute // not what ends them
	c.WriteTimeout = time.Second
	for name, slow := range map[string]struct {
		timeout time.Duration
		attack  func(*attacker)
	}{
		"header": {c.ReadTimeout + c.ReadHeaderTimeout, func(a *attacker) {
			a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1})
		}},
		"header after a call": {c.ReadTimeout + c.ReadHeaderTimeout, func(a *attacker) {
			id, _ := a.call(http.MethodGet, "/quick")
			a.WriteHeaders(http2.HeadersFrameParam{StreamID: id + 2})
		}},
		"half a frame": {c.ReadTimeout + c.ReadHeaderTimeout, func(a *attacker) {
			a.call(http.MethodGet, "/wait")
			a.Out.WriteString("\x00\x00")
		}},
		"reader": {c.WriteTimeout, func(a *attacker) {
			a.WriteWindowUpdate(0, 1<<30)
			for range 64 {
				a.call(http.MethodGet, "/large")
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := c
			if name == "reader" {
				c.ReadTimeout = time.Minute // nor a ping
			}
			s := serveTarget(t, c, true)
			a := attack(t, s, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
			slow.attack(a)
			a.Out.Flush()
			h2test.Until(t, 10*time.Second, func() bool { open, _ := s.Connections(); return open == 1 }, "there is no connection")
			h2test.Until(t, slow.timeout+grace, func() bool { open, _ := s.Connections(); return open == 0 }, "the connection is open")
			s.quiet(t)
		})
	}
}

// Fault 22: over HTTP/2 too, a body that does not come is given up after
// ReadTimeout.
func TestFault22SlowHTTP2Body(t *testing.T) {
	t.Parallel()
	s := serveTarget(t, Config{ReadTimeout: 300 * time.Millisecond, IdleTimeout: 300 * time.Millisecond}, false)
	a := attack(t, s)
	for range maxStreams {
		if _, err := a.call(http.MethodPost, "/read"); err != nil {
			t.Fatal(err)
		}
	}
	a.Out.Flush()
	h2test.Until(t, 10*time.Second, func() bool { return s.calls.Load() == maxStreams }, "not all calls have begun")
	h2test.Until(t, 2300*time.Millisecond, func() bool { return s.running.Load() == 0 }, "calls wait for their body")
	a.Ended(t, "slow body", 5*time.Second)
}

// Fault 27: 1,000 handshakes that stall, half of them with junk, are closed in time.
func TestFault27StalledHandshakes(t *testing.T) { // alone: it takes many files
	n := crowd(t, 1)
	s := serveTarget(t, Config{ReadHeaderTimeout: time.Second}, true)
	stop := s.beside(t)
	dialMany(t, s, n/2, "")
	dialMany(t, s, n/4, "\x16\x03\x01\x02\x00\x01")
	dialMany(t, s, n/4, "\x16\x03\x01\xff\xff junk that is no hello")
	h2test.Until(t, time.Second+grace, func() bool { open, _ := s.Connections(); return open <= 1 }, "stalled handshakes are open")
	stop()
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		config := s.tls.Clone()
		config.MinVersion, config.MaxVersion = version, version
		if conn, err := tls.Dial("tcp", s.Addr().String(), config); err == nil {
			conn.Close()
			t.Errorf("%s was spoken", tls.VersionName(version))
		}
	}
}

// Fault 26: with every place taken, the next clients are refused at once, over TLS
// by the end of the connection.
func TestFault26RefusedNotHung(t *testing.T) {
	t.Parallel()
	for _, overTLS := range []bool{false, true} {
		s := serveTarget(t, Config{MaxConnections: 2, MaxConnectionsPerClient: 2}, overTLS)
		dialMany(t, s, 2, "")
		h2test.Until(t, 5*time.Second, func() bool { open, _ := s.Connections(); return open == 2 }, "the places are not taken")
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				conn, err := net.Dial("tcp", s.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(5 * time.Second))
				said, err := io.ReadAll(conn)
				if err != nil || overTLS != (len(said) == 0) {
					t.Errorf("TLS %v: %q, %v", overTLS, said, err)
				}
			})
		}
		wg.Wait()
		if _, refused := s.Connections(); refused != 20 {
			t.Errorf("%d refused", refused)
		}
	}
}
