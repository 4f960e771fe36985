package httpapi

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/certtest"
	"github.com/chassi-go/chassi/transport/certs"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// target is a server under attack: GET /wait does not end before its client goes,
// GET /large answers 1 MiB, GET /things/a is quick.
type target struct {
	*Server

	running, most, calls atomic.Int64
	tls                  *tls.Config // nil for HTTP/2 without TLS
}

func serveTarget(t *testing.T, c Config, overTLS bool) *target {
	t.Helper()
	s := new(target)
	if c.H2C = !overTLS; overTLS {
		issued := certtest.Issue(t, "server", nil, time.Now().Add(time.Hour))
		c.TLS = install(t, issued)
		s.tls = &tls.Config{RootCAs: issued.Pool(), NextProtos: []string{"h2"}}
	}
	large := make([]byte, 1<<20)
	serveTest(t, c, func(server *Server) {
		s.Server = server
		for pattern, f := range map[string]http.HandlerFunc{
			"GET /wait": func(_ http.ResponseWriter, r *http.Request) { s.count(func() { <-r.Context().Done() }) },
			"GET /large": func(w http.ResponseWriter, r *http.Request) {
				s.count(func() {
					_ = r.Context().Value(connectionKey{}).(*connection).tcp.SetWriteBuffer(16 << 10) // or the system takes it all
					_, _ = w.Write(large)
				})
			},
			"GET /quick": func(http.ResponseWriter, *http.Request) { s.count(func() {}) },
			"POST /read": func(_ http.ResponseWriter, r *http.Request) { s.count(func() { _, _ = io.Copy(io.Discard, r.Body) }) },
		} {
			if err := server.Handle(pattern, f, chassi.Public); err != nil {
				t.Fatal(err)
			}
		}
	})
	return s
}

func install(t *testing.T, i certtest.Issued) certs.Files {
	t.Helper()
	dir := t.TempDir()
	files := certs.Files{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}
	for file, content := range map[string][]byte{files.CertFile: i.Cert, files.KeyFile: i.Key} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func (s *target) count(work func()) {
	s.calls.Add(1)
	n := s.running.Add(1)
	defer s.running.Add(-1)
	for most := s.most.Load(); n > most && !s.most.CompareAndSwap(most, n); most = s.most.Load() {
	}
	work()
}

// beside calls the server over connections of its own until the returned function
// is called: no call may fail.
func (s *target) beside(t *testing.T) (stop func()) {
	t.Helper()
	scheme, transport := "http", &http.Transport{MaxConnsPerHost: 1}
	if s.tls != nil {
		scheme, transport.TLSClientConfig = "https", &tls.Config{RootCAs: s.tls.RootCAs}
	}
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	var times []time.Duration
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(25 * time.Millisecond):
			}
			began := time.Now()
			answer, err := client.Get(scheme + "://" + s.Addr().String() + "/things/a")
			if err != nil {
				t.Errorf("a client beside: %v", err)
				return
			}
			_, err = io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
			if err != nil || answer.StatusCode != http.StatusOK {
				t.Errorf("a client beside: %d, %v", answer.StatusCode, err)
			}
			times = append(times, time.Since(began))
		}
	})
	stop = sync.OnceFunc(func() {
		close(done)
		wg.Wait()
		transport.CloseIdleConnections()
		if slices.Sort(times); len(times) > 0 {
			t.Logf("a client beside: %d calls, p50 %v, p99 %v", len(times), times[len(times)/2], times[len(times)*99/100])
		}
	})
	t.Cleanup(stop)
	return stop
}

// quiet waits until no handler runs.
func (s *target) quiet(t *testing.T) {
	t.Helper()
	until(t, 10*time.Second, func() bool { return s.running.Load() == 0 }, "handlers still run")
}

// until waits for a condition.
func until(t *testing.T, most time.Duration, ok func() bool, otherwise string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(most)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("after %v %s", most, otherwise)
		}
	}
}

// attacker speaks HTTP/2 frame by frame.
type attacker struct {
	*http2.Framer

	conn   net.Conn
	out    *bufio.Writer
	block  bytes.Buffer
	hpack  *hpack.Encoder
	stream uint32
}

func attack(t *testing.T, s *target, settings ...http2.Setting) *attacker {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if s.tls != nil {
		config := s.tls.Clone()
		config.ServerName = "127.0.0.1"
		conn = tls.Client(conn, config)
	}
	t.Cleanup(func() { conn.Close() })
	a := &attacker{conn: conn, out: bufio.NewWriterSize(conn, 32<<10), stream: 1}
	a.Framer = http2.NewFramer(a.out, conn)
	a.hpack = hpack.NewEncoder(&a.block)
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	io.WriteString(a.out, http2.ClientPreface)
	if err := a.WriteSettings(settings...); err != nil {
		t.Fatal(err)
	}
	if err := a.out.Flush(); err != nil {
		t.Fatal(err)
	}
	return a
}

// call begins a request and returns its stream.
func (a *attacker) call(method, path string) (uint32, error) {
	a.block.Reset()
	for _, f := range [][2]string{{":method", method}, {":scheme", "http"}, {":authority", "x"}, {":path", path}} {
		a.hpack.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	id := a.stream
	a.stream += 2
	return id, a.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: a.block.Bytes(), EndHeaders: true, EndStream: method == http.MethodGet})
}

// repeat calls f until it fails or was called n times, and returns how often it was.
func (a *attacker) repeat(n int, f func() error) int {
	for i := range n {
		if f() != nil {
			return i
		}
	}
	if a.out.Flush() != nil {
		return n - 1
	}
	return n
}

// answered reads until the server has come to the end of all that was sent, or
// ended the connection, and tells which.
func (a *attacker) answered(t *testing.T) (open bool) {
	t.Helper()
	last := [8]byte{'l', 'a', 's', 't'}
	if a.WritePing(false, last) != nil || a.out.Flush() != nil {
		return false
	}
	for {
		frame, err := a.ReadFrame()
		if err != nil {
			if os.IsTimeout(err) {
				t.Error("no answer and no end")
			}
			return false
		}
		if ping, ok := frame.(*http2.PingFrame); ok && ping.Data == last {
			return true
		}
	}
}

// ended reads until the connection ends.
func (a *attacker) ended(t *testing.T, name string, most time.Duration) {
	t.Helper()
	began := time.Now()
	a.conn.SetReadDeadline(began.Add(most))
	if _, err := io.Copy(io.Discard, a.conn); err != nil && os.IsTimeout(err) {
		t.Errorf("%s: the connection is open after %v", name, most)
	}
	t.Logf("%s: the connection ended after %v", name, time.Since(began))
}

// Fault 23: of 100,000 calls that are reset at once never more run than one
// connection may have, and the connection is closed.
func TestFault23RapidReset(t *testing.T) {
	t.Parallel()
	for _, overTLS := range []bool{true, false} {
		t.Run(fmt.Sprintf("TLS %v", overTLS), func(t *testing.T) {
			t.Parallel()
			s := serveTarget(t, Config{}, overTLS)
			stop := s.beside(t)
			a := attack(t, s)
			sent := a.repeat(100_000, func() error {
				id, err := a.call(http.MethodGet, "/wait")
				if err != nil {
					return err
				}
				return a.WriteRSTStream(id, http2.ErrCodeCancel)
			})
			if a.answered(t) {
				t.Error("the connection is still open")
			}
			s.quiet(t)
			stop()
			if most := s.most.Load(); most > maxStreams {
				t.Errorf("%d calls at once", most)
			}
			t.Logf("cut off after %d resets, %d calls begun, %d at once", sent, s.calls.Load(), s.most.Load())
		})
	}
}

// Fault 23: resets of calls that run are counted, however slowly they come; a
// client that resets fewer calls than it lets end goes on.
func TestFault23ResetsAreCounted(t *testing.T) {
	t.Parallel()
	const most = 10
	for _, honest := range []int64{0, 2} {
		s := serveTarget(t, Config{MaxResets: most}, true)
		a := attack(t, s)
		send := func(path string) uint32 {
			began := s.calls.Load()
			id, err := a.call(http.MethodGet, path)
			if err != nil || a.out.Flush() != nil {
				t.Fatal(err)
			}
			until(t, 5*time.Second, func() bool { return s.calls.Load() > began }, "the call has not begun")
			return id
		}
		for range most + 1 {
			for range honest {
				send("/quick")
			}
			if err := a.WriteRSTStream(send("/wait"), http2.ErrCodeCancel); err != nil || a.out.Flush() != nil {
				t.Fatal(err)
			}
			s.quiet(t)
		}
		if open := a.answered(t); open != (honest > 0) {
			t.Errorf("%d honest calls for each reset: open %v", honest, open)
		}
	}
}

// A call that has ended before its reset comes was a call like any: such a client
// is bounded by the calls at once, and only closed when its resets do arrive in
// time.
func TestFault23RapidResetOfQuickCalls(t *testing.T) {
	t.Parallel()
	s := serveTarget(t, Config{}, false)
	stop := s.beside(t)
	a := attack(t, s)
	sent := a.repeat(5_000, func() error {
		id, err := a.call(http.MethodGet, "/quick")
		if err != nil {
			return err
		}
		return a.WriteRSTStream(id, http2.ErrCodeCancel)
	})
	open := a.answered(t)
	s.quiet(t)
	stop()
	if most := s.most.Load(); most > maxStreams {
		t.Errorf("%d calls at once", most)
	}
	t.Logf("open %v after %d sent, %d calls begun, %d at once", open, sent, s.calls.Load(), s.most.Load())
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

var hasty = Config{ReadHeaderTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: 2 * time.Second, IdleTimeout: 500 * time.Millisecond}

// Fault 24: frames that cost their sender little end the connection, and cost no
// more than 32 MiB until they do. Pings, settings and empty data whose sender
// reads the answers are answered by net/http for as long as a call of that
// connection lasts, which the timeouts end, and then until IdleTimeout or
// maxIdleBytes.
func TestFault24Floods(t *testing.T) { // alone: it looks at the heap
	const many = 12_000
	floods := map[string]func(a *attacker) int{
		"continuation": func(a *attacker) int {
			a.block.Reset()
			for i := range 100 {
				a.hpack.WriteField(hpack.HeaderField{Name: fmt.Sprint("x-", i), Value: strings.Repeat("v", 100)})
			}
			a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.block.Bytes()})
			return a.repeat(many, func() error { return a.WriteContinuation(1, false, a.block.Bytes()) })
		},
		"empty continuation": func(a *attacker) int {
			a.block.Reset()
			a.hpack.WriteField(hpack.HeaderField{Name: ":method", Value: "GET"})
			a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.block.Bytes()})
			return a.repeat(many, func() error { return a.WriteContinuation(1, false, nil) })
		},
		"settings": func(a *attacker) int {
			return a.repeat(many, func() error {
				return a.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
			})
		},
		"ping": func(a *attacker) int {
			return a.repeat(many, func() error { return a.WritePing(false, [8]byte{1}) })
		},
		"empty data": func(a *attacker) int {
			id, _ := a.call(http.MethodPost, "/read")
			return a.repeat(many, func() error { return a.WriteData(id, false, nil) })
		},
		"data of a call that ended": func(a *attacker) int {
			id, _ := a.call(http.MethodGet, "/quick")
			return a.repeat(many, func() error { return a.WriteData(id, false, nil) })
		},
		"zero window": func(a *attacker) int {
			a.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			return a.repeat(maxStreams, func() error { _, err := a.call(http.MethodGet, "/large"); return err })
		},
		"queued streams": func(a *attacker) int {
			return a.repeat(20_001, func() error { _, err := a.call(http.MethodGet, "/wait"); return err })
		},
		"unknown frames": func(a *attacker) int {
			junk := make([]byte, 16<<10)
			return a.repeat(2*maxIdleBytes/len(junk), func() error { return a.WriteRawFrame(0xf0, 0, 0, junk) })
		},
	}
	t.Run("who reads the answers", func(t *testing.T) { floodAtOnce(t, floods, true) })
	t.Run("who does not", func(t *testing.T) { floodAtOnce(t, floods, false) })
}

// floodAtOnce lets all floods loose, over TLS if they read, each on a server of its
// own.
func floodAtOnce(t *testing.T, kinds map[string]func(*attacker) int, reads bool) {
	t.Helper()
	floods := make([]*flooding, 0, len(kinds))
	for name, flood := range kinds {
		f := &flooding{name: name, flood: flood, target: serveTarget(t, hasty, reads)}
		f.stop = f.target.beside(t)
		f.attacker = attack(t, f.target)
		floods = append(floods, f)
	}
	before := heap()
	var sending, ending sync.WaitGroup
	for _, f := range floods {
		if reads {
			ending.Go(func() { f.attacker.ended(t, f.name, 10*time.Second) })
		}
		sending.Go(func() { f.sent = f.flood(f.attacker) })
	}
	sending.Wait()
	after := heap()
	t.Logf("%d KiB more on the heap", (int64(after)-int64(before))>>10)
	if after > before+32<<20 {
		t.Errorf("%d bytes more on the heap", after-before)
	}
	ending.Wait()
	for _, f := range floods {
		until(t, 10*time.Second, func() bool { open, _ := f.target.Connections(); return open <= 1 }, f.name+": the connection is open")
		f.target.quiet(t)
		f.stop()
		if most := f.target.most.Load(); most > maxStreams {
			t.Errorf("%s: %d calls at once", f.name, most)
		}
		t.Logf("%s: %d sent", f.name, f.sent)
	}
}

// flooding is one flood with a server of its own.
type flooding struct {
	name     string
	flood    func(*attacker) int
	target   *target
	attacker *attacker
	stop     func()
	sent     int
}

// Bytes that belong to no call end a connection long before its idle timeout.
func TestFault24IdleFlood(t *testing.T) {
	t.Parallel()
	s := serveTarget(t, Config{}, true)
	a := attack(t, s)
	junk := make([]byte, 16<<10)
	const most = maxIdleBytes/(16<<10) + 64
	if sent := a.repeat(4*most, func() error { return a.WriteRawFrame(0xf0, 0, 0, junk) }); sent > 2*most {
		t.Errorf("%d frames of %d bytes were taken", sent, len(junk))
	}
	a.ended(t, "junk", 5*time.Second)
}
