package grpcapi_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/certtest"
	"github.com/chassi-go/chassi/internal/h2test"
	"github.com/chassi-go/chassi/transport/certs"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// target is a server under attack: Wait does not end before its client goes, Large
// answers 1 MiB, Greet is quick.
type target struct {
	*grpcapi.Server

	running, most, calls atomic.Int64
	tls                  *tls.Config // nil for none
}

const maxStreams = 50

func serveTarget(t *testing.T, c grpcapi.Config, overTLS bool) *target {
	t.Helper()
	s := new(target)
	if overTLS {
		issued := certtest.Issue(t, "server", nil, time.Now().Add(time.Hour))
		c.TLS = certs.Files{}
		c.TLS.CertFile, c.TLS.KeyFile = install(t, issued)
		s.tls = &tls.Config{RootCAs: issued.Pool(), NextProtos: []string{"h2"}, ServerName: "127.0.0.1"}
	}
	c.MaxStreams = maxStreams
	if c.MaxConnectionsPerClient == 0 {
		c.MaxConnectionsPerClient = 10_000 // all attackers are on one address
	}
	if c.MaxStreamsPerClient == 0 {
		c.MaxStreamsPerClient = 1 << 20
	}
	large := strings.Repeat("x", 1<<20)
	s.Server = start(t, c, nil, greeter(), chassi.NewService("test.v1.Test",
		chassi.NewEndpoint("Wait", func(ctx context.Context, _ *greetRequest) (*greeting, error) {
			s.calls.Add(1)
			n := s.running.Add(1)
			defer s.running.Add(-1)
			for most := s.most.Load(); n > most && !s.most.CompareAndSwap(most, n); most = s.most.Load() {
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}, chassi.Public),
		chassi.NewEndpoint("Large", func(context.Context, *greetRequest) (*greeting, error) {
			return &greeting{Text: large}, nil
		}, chassi.Public)))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// beside calls the server over a connection of its own until the returned function
// is called: no call may fail.
func (s *target) beside(t *testing.T) (stop func()) {
	t.Helper()
	creds := insecure.NewCredentials()
	if s.tls != nil {
		creds = credentials.NewTLS(s.tls)
	}
	conn, err := grpc.NewClient(s.Addr().String(), grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	call := func() error {
		return conn.Invoke(t.Context(), "/greet.v1.Greeter/Greet", new(bytesMessage), new(bytesMessage), grpc.ForceCodec(rawCodec{}))
	}
	if err := call(); err != nil { // what a connection costs is not counted as a flood's
		t.Fatal(err)
	}
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
			if err := call(); err != nil {
				t.Errorf("a client beside: %v", err)
				return
			}
			times = append(times, time.Since(began))
		}
	})
	stop = sync.OnceFunc(func() {
		close(done)
		wg.Wait()
		conn.Close()
		if slices.Sort(times); len(times) > 0 {
			t.Logf("a client beside: %d calls, p50 %v, p99 %v", len(times), times[len(times)/2], times[len(times)*99/100])
		}
	})
	t.Cleanup(stop)
	return stop
}

// open waits until at most n connections are open.
func (s *target) open(t *testing.T, n int64, most time.Duration) {
	t.Helper()
	h2test.Until(t, most, func() bool { open, _ := s.Connections(); return open <= n }, "connections are open")
}

// quiet waits until no handler runs.
func (s *target) quiet(t *testing.T) {
	t.Helper()
	h2test.Until(t, 10*time.Second, func() bool { return s.running.Load() == 0 }, "handlers still run")
}

// attacker is a client that means ill.
type attacker struct {
	*h2test.Client

	decoder *hpack.Decoder
}

func attack(t *testing.T, s *target, settings ...http2.Setting) *attacker {
	t.Helper()
	return &attacker{h2test.Dial(t, s.Addr().String(), s.tls, settings...), hpack.NewDecoder(4096, nil)}
}

// call sends the header of a call and, if whole, an empty message.
func (a *attacker) call(method string, whole bool) (uint32, error) {
	id, err := a.Begin(false, [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":authority", "x"}, {":path", method}, {"content-type", "application/grpc"}, {"te", "trailers"},
	}...)
	if err == nil && whole {
		err = a.WriteData(id, true, make([]byte, 5))
	}
	return id, err
}

// Fault 23: of 100,000 calls that are reset at once never more run than one
// connection may have, and the connection is closed.
func TestFault23RapidReset(t *testing.T) {
	t.Parallel()
	for _, overTLS := range []bool{true, false} {
		for _, method := range []string{"/test.v1.Test/Wait", "/greet.v1.Greeter/Greet"} {
			s := serveTarget(t, grpcapi.Config{}, overTLS)
			stop := s.beside(t)
			a := attack(t, s)
			sent := a.Repeat(100_000, func() error {
				id, err := a.call(method, true)
				if err != nil {
					return err
				}
				return a.WriteRSTStream(id, http2.ErrCodeCancel)
			})
			a.Ended(t, method, 10*time.Second)
			s.quiet(t)
			stop()
			if most := s.most.Load(); most > maxStreams {
				t.Errorf("%d calls at once", most)
			}
			t.Logf("TLS %v: cut off after %d resets, %d calls begun, %d at once", overTLS, sent, s.calls.Load(), s.most.Load())
		}
	}
}

// flooding is one flood with a server of its own.
type flooding struct {
	name     string
	flood    func(*attacker) int
	reads    bool
	target   *target
	attacker *attacker
	stop     func()
	sent     int
}

// Fault 24: empty frames, and responses that the client does not read, end the connection, and cost
// little until they do: all of them at once no more than 64 MiB, where each alone may cost 32.
// Responses for which there is no window are grpc-go's to keep: at most MaxStreams of them, until
// MaxConnectionAge and CallTimeout have passed.
func TestFault24Floods(t *testing.T) { // alone: it looks at the heap
	const many = 15_000
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
			a.HPACK.WriteField(hpack.HeaderField{Name: ":method", Value: "POST"})
			a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.Block.Bytes()})
			return a.Repeat(many, func() error { return a.WriteContinuation(1, false, nil) })
		},
		"settings": func(a *attacker) int {
			return a.Repeat(many, func() error {
				return a.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
			})
		},
		"ping":          func(a *attacker) int { return a.Repeat(many, func() error { return a.WritePing(false, [8]byte{1}) }) },
		"pong":          func(a *attacker) int { return a.Repeat(many, func() error { return a.WritePing(true, [8]byte{1}) }) },
		"window update": func(a *attacker) int { return a.Repeat(many, func() error { return a.WriteWindowUpdate(0, 1) }) },
		"empty data": func(a *attacker) int {
			id, _ := a.call("/test.v1.Test/Wait", false)
			return a.Repeat(many, func() error { return a.WriteData(id, false, nil) })
		},
		"zero window": func(a *attacker) int {
			a.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			return a.Repeat(6, func() error { _, err := a.call("/test.v1.Test/Large", true); return err })
		},
		"queued streams": func(a *attacker) int {
			return a.Repeat(20_001, func() error { _, err := a.call("/test.v1.Test/Wait", true); return err })
		},
		"unknown frames": func(a *attacker) int {
			return a.Repeat(many, func() error { return a.WriteRawFrame(0xf0, 0, 0, nil) })
		},
	}
	floodAtOnce(t, floods)
}

// floodAtOnce lets all floods loose, each on a server of its own: over TLS by a
// client that reads, and without by one that does not.
func floodAtOnce(t *testing.T, kinds map[string]func(*attacker) int) {
	t.Helper()
	floods := make([]*flooding, 0, 2*len(kinds))
	for name, flood := range kinds {
		for _, reads := range []bool{true, false} {
			c := grpcapi.Config{CallTimeout: 2 * time.Second}
			if name == "zero window" || name == "queued streams" { // of no control frames
				c.MaxConnectionAge = time.Second
			}
			f := &flooding{name: fmt.Sprintf("%s, reads %v", name, reads), flood: flood, reads: reads, target: serveTarget(t, c, reads)}
			f.stop = f.target.beside(t)
			f.attacker = attack(t, f.target)
			floods = append(floods, f)
		}
	}
	before := h2test.Heap()
	var sending, ending sync.WaitGroup
	for _, f := range floods {
		if f.reads {
			ending.Go(func() { f.attacker.Ended(t, f.name, 15*time.Second) })
		}
		sending.Go(func() { f.sent = f.flood(f.attacker) })
	}
	sending.Wait()
	after := h2test.Heap()
	t.Logf("%d KiB more on the heap", (int64(after)-int64(before))>>10)
	if after > before+64<<20 {
		t.Errorf("%d bytes more on the heap", after-before)
	}
	ending.Wait()
	for _, f := range floods {
		f.target.open(t, 1, 15*time.Second)
		f.target.quiet(t)
		f.stop()
		if most := f.target.most.Load(); most > maxStreams {
			t.Errorf("%s: %d calls at once", f.name, most)
		}
		t.Logf("%s: %d sent", f.name, f.sent)
	}
}

// An honest client is no flood: it streams responses and gives up calls, and keeps
// its connection.
func TestGuardAcceptsNormalClients(t *testing.T) {
	t.Parallel()
	s := serveTarget(t, grpcapi.Config{MaxControlFrames: 100, MaxResets: 10}, false)
	conn := dial(t, s.Server)
	for i := range 300 {
		ctx, cancel := context.WithCancel(t.Context())
		method := "/greet.v1.Greeter/Greet"
		if i%3 == 0 {
			method = "/test.v1.Test/Wait"
			go func() {
				defer cancel()
				<-time.After(time.Millisecond)
			}()
		} else if i%50 == 1 {
			method = "/test.v1.Test/Large"
		}
		if err := conn.Invoke(ctx, method, new(bytesMessage), new(bytesMessage), grpc.ForceCodec(rawCodec{})); (err != nil) != (i%3 == 0) {
			t.Fatalf("%s: %v", method, err)
		}
		cancel()
	}
	if open, _ := s.Connections(); open != 1 {
		t.Errorf("%d connections", open)
	}
}

// grace is how late a timeout may be on a busy machine; on another it is at most a second.
const grace = 10 * time.Second

// crowd is how many connections a test opens: 1,000, or what the limit of open
// files lets (each has two ends here).
func crowd(t *testing.T) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	n := min(1000, (int(limit.Cur)-400)/2)
	if n < 20 {
		t.Skipf("the limit of %d open files is too low: raise it (ulimit -n)", limit.Cur)
	}
	return n
}

// Fault 22: 1,000 each of slow headers and slow bodies, and 20 slow readers (whose responses are what
// costs here), are closed or given up within their timeout and a second, and no other client fails.
func TestFault22SlowClients(t *testing.T) { // alone: it takes many files
	c := grpcapi.Config{ConnectionTimeout: time.Second, CallTimeout: time.Second}
	n := crowd(t)
	for _, kind := range []struct {
		name string
		n    int
		slow func(a *attacker)
	}{
		{"header", n, func(a *attacker) { a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x83}}) }},
		{"reader", n / 50, func(a *attacker) {
			a.WriteWindowUpdate(0, 1<<30)
			for range 6 {
				a.call("/test.v1.Test/Large", true)
			}
		}},
	} {
		s := serveTarget(t, c, false)
		stop := s.beside(t)
		for range kind.n {
			a := attack(t, s, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
			kind.slow(a)
			a.Out.Flush()
		}
		began := time.Now()
		s.open(t, 1, time.Second+grace)
		t.Logf("%s: %d closed %v after the last began", kind.name, kind.n, time.Since(began))
		stop()
	}
	s := serveTarget(t, c, false)
	stop := s.beside(t)
	var wg sync.WaitGroup
	for range n {
		a := attack(t, s)
		id, _ := a.call("/greet.v1.Greeter/Greet", false)
		a.WriteData(id, false, []byte{0, 0, 0, 0, 9, 1})
		a.Out.Flush()
		a.Conn.SetReadDeadline(time.Now().Add(time.Second + grace))
		wg.Go(func() { // the call is answered, the connection may go on
			for {
				frame, err := a.ReadFrame()
				if err != nil {
					t.Errorf("no end of the call: %v", err)
					return
				}
				if h, ok := frame.(*http2.HeadersFrame); ok && h.StreamEnded() {
					return
				}
			}
		})
	}
	wg.Wait()
	stop()
}

// Fault 27: 1,000 handshakes that stall, half of them with junk, are closed in time.
func TestFault27StalledHandshakes(t *testing.T) { // alone: it takes many files
	for _, overTLS := range []bool{true, false} {
		s := serveTarget(t, grpcapi.Config{ConnectionTimeout: time.Second}, overTLS)
		stop := s.beside(t)
		n := crowd(t)
		if !overTLS {
			n /= 5 // no handshake but the preface
		}
		for i := range n {
			conn, err := net.Dial("tcp", s.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, []string{"", "\x16\x03\x01\x02\x00\x01", "PRI * HT", "\x16\x03\x01\xff\xff junk that is no hello"}[i%4])
		}
		s.open(t, 1, time.Second+grace)
		stop()
	}
}

// Fault 26: with every place taken the next clients are refused at once.
func TestFault26RefusedNotHung(t *testing.T) {
	t.Parallel()
	for _, overTLS := range []bool{false, true} {
		s := serveTarget(t, grpcapi.Config{MaxConnections: 1}, overTLS)
		attack(t, s)
		h2test.Until(t, 5*time.Second, func() bool { open, _ := s.Connections(); return open == 1 }, "the place is not taken")
		for range 20 {
			conn, err := net.Dial("tcp", s.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(5 * time.Second))
			if said, err := io.ReadAll(conn); len(said) > 0 || os.IsTimeout(err) {
				t.Errorf("%q, %v", said, err)
			}
		}
		if _, refused := s.Connections(); refused != 20 {
			t.Errorf("%d refused", refused)
		}
	}
}
