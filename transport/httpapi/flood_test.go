package httpapi

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/certtest"
	"github.com/chassi-go/chassi/internal/h2test"
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
			response, err := client.Get(scheme + "://" + s.Addr().String() + "/things/a")
			if err != nil {
				t.Errorf("a client beside: %v", err)
				return
			}
			_, err = io.Copy(io.Discard, response.Body)
			response.Body.Close()
			if err != nil || response.StatusCode != http.StatusOK {
				t.Errorf("a client beside: %d, %v", response.StatusCode, err)
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
	h2test.Until(t, 10*time.Second, func() bool { return s.running.Load() == 0 }, "handlers still run")
}

// attacker is a client that means ill.
type attacker struct{ *h2test.Client }

func attack(t *testing.T, s *target, settings ...http2.Setting) *attacker {
	t.Helper()
	return &attacker{h2test.Dial(t, s.Addr().String(), s.tls, settings...)}
}

// call begins a request and returns its stream.
func (a *attacker) call(method, path string) (uint32, error) {
	return a.Begin(method == http.MethodGet, [2]string{":method", method}, [2]string{":scheme", "http"}, [2]string{":authority", "x"}, [2]string{":path", path})
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
			sent := a.Repeat(100_000, func() error {
				id, err := a.call(http.MethodGet, "/wait")
				if err != nil {
					return err
				}
				return a.WriteRSTStream(id, http2.ErrCodeCancel)
			})
			if a.Answered(t) {
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
			if err != nil || a.Out.Flush() != nil {
				t.Fatal(err)
			}
			h2test.Until(t, 5*time.Second, func() bool { return s.calls.Load() > began }, "the call has not begun")
			return id
		}
		for range most + 1 {
			for range honest {
				send("/quick")
			}
			if err := a.WriteRSTStream(send("/wait"), http2.ErrCodeCancel); err != nil || a.Out.Flush() != nil {
				t.Fatal(err)
			}
			s.quiet(t)
		}
		if open := a.Answered(t); open != (honest > 0) {
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
	sent := a.Repeat(5_000, func() error {
		id, err := a.call(http.MethodGet, "/quick")
		if err != nil {
			return err
		}
		return a.WriteRSTStream(id, http2.ErrCodeCancel)
	})
	open := a.Answered(t)
	s.quiet(t)
	stop()
	if most := s.most.Load(); most > maxStreams {
		t.Errorf("%d calls at once", most)
	}
	t.Logf("open %v after %d sent, %d calls begun, %d at once", open, sent, s.calls.Load(), s.most.Load())
}

var hasty = Config{ReadHeaderTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: 2 * time.Second, IdleTimeout: 500 * time.Millisecond}

// Fault 24: frames that cost their sender little end the connection, and cost no
// more than 32 MiB until they do. Pings, settings and empty data whose sender
// reads the responses are answered by net/http for as long as a call of that
// connection lasts, which the timeouts end, and then until IdleTimeout or
// maxIdleBytes.
func TestFault24Floods(t *testing.T) { // alone: it looks at the heap
	const many = 12_000
	floods := map[string]func(a *attacker) int{
		"continuation": func(a *attacker) int {
			a.Block.Reset()
			for i := range 100 {
				a.HPACK.WriteField(hpack.HeaderField{Name: fmt.Sprint("x-", i), Value: strings.Repeat("v", 100)})
			}
			a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.Block.Bytes()})
			return a.Repeat(many, func() error { return a.WriteContinuation(1, false, a.Block.Bytes()) })
		},
		"empty continuation": func(a *attacker) int {
			a.Block.Reset()
			a.HPACK.WriteField(hpack.HeaderField{Name: ":method", Value: "GET"})
			a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.Block.Bytes()})
			return a.Repeat(many, func() error { return a.WriteContinuation(1, false, nil) })
		},
		"settings": func(a *attacker) int {
			return a.Repeat(many, func() error {
				return a.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
			})
		},
		"ping": func(a *attacker) int {
			return a.Repeat(many, func() error { return a.WritePing(false, [8]byte{1}) })
		},
		"empty data": func(a *attacker) int {
			id, _ := a.call(http.MethodPost, "/read")
			return a.Repeat(many, func() error { return a.WriteData(id, false, nil) })
		},
		"data of a call that ended": func(a *attacker) int {
			id, _ := a.call(http.MethodGet, "/quick")
			return a.Repeat(many, func() error { return a.WriteData(id, false, nil) })
		},
		"zero window": func(a *attacker) int {
			a.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			return a.Repeat(maxStreams, func() error { _, err := a.call(http.MethodGet, "/large"); return err })
		},
		"queued streams": func(a *attacker) int {
			return a.Repeat(20_001, func() error { _, err := a.call(http.MethodGet, "/wait"); return err })
		},
		"unknown frames": func(a *attacker) int {
			junk := make([]byte, 16<<10)
			return a.Repeat(2*maxIdleBytes/len(junk), func() error { return a.WriteRawFrame(0xf0, 0, 0, junk) })
		},
	}
	t.Run("who reads the responses", func(t *testing.T) { floodAtOnce(t, floods, true) })
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
	before := h2test.Heap()
	var sending, ending sync.WaitGroup
	for _, f := range floods {
		if reads {
			ending.Go(func() { f.attacker.Ended(t, f.name, 30*time.Second) })
		}
		sending.Go(func() { f.sent = f.flood(f.attacker) })
	}
	sending.Wait()
	after := h2test.Heap()
	t.Logf("%d KiB more on the heap", (int64(after)-int64(before))>>10)
	if after > before+32<<20 {
		t.Errorf("%d bytes more on the heap", after-before)
	}
	ending.Wait()
	for _, f := range floods {
		h2test.Until(t, 10*time.Second, func() bool { open, _ := f.target.Connections(); return open <= 1 }, f.name+": the connection is open")
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
	if sent := a.Repeat(4*most, func() error { return a.WriteRawFrame(0xf0, 0, 0, junk) }); sent > 2*most {
		t.Errorf("%d frames of %d bytes were taken", sent, len(junk))
	}
	a.Ended(t, "junk", 5*time.Second)
}
