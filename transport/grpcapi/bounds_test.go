package grpcapi_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/h2test"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// from connects from a loopback address, which stands for one client.
func (s *target) from(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	creds := insecure.NewCredentials()
	if s.tls != nil {
		creds = credentials.NewTLS(s.tls)
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	conn, err := grpc.NewClient("passthrough:///"+s.Addr().String(), grpc.WithTransportCredentials(creds),
		grpc.WithContextDialer(func(ctx context.Context, to string) (net.Conn, error) { return d.DialContext(ctx, "tcp", to) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func greet(ctx context.Context, conn *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return conn.Invoke(ctx, "/greet.v1.Greeter/Greet", new(bytesMessage), new(bytesMessage), grpc.ForceCodec(rawCodec{}))
}

// One client that takes all connections it can get leaves the others theirs.
func TestConnectionsOfOneClientLeaveCapacityForOthers(t *testing.T) {
	t.Parallel()
	for _, overTLS := range []bool{false, true} {
		t.Run(fmt.Sprint("TLS=", overTLS), func(t *testing.T) {
			t.Parallel()
			s := serveTarget(t, grpcapi.Config{MaxConnections: 10, MaxConnectionsPerClient: 3}, overTLS)
			for range 3 {
				dialFrom(t, "127.0.0.2", s.Addr())
			}
			h2test.Until(t, 5*time.Second, func() bool { open, _ := s.Connections(); return open == 3 }, "the connections are not there")
			for range 20 {
				if said, err := io.ReadAll(dialFrom(t, "127.0.0.2", s.Addr())); len(said) > 0 || err != nil {
					t.Errorf("one too many: %q, %v", said, err)
				}
			}
			if open, refused := s.Connections(); open != 3 || refused != 20 || s.RefusedClients() != 20 {
				t.Errorf("%d open, %d refused, %d for their client", open, refused, s.RefusedClients())
			}
			if err := greet(t.Context(), s.from(t, "127.0.0.3")); err != nil {
				t.Errorf("another client: %v", err)
			}
		})
	}
}

func dialFrom(t *testing.T, from string, to net.Addr) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
	conn, err := d.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn
}

// One client that begins calls on many connections and never sends their messages, or
// never stops to watch the health, leaves the others their calls.
func TestStreamsOfOneClientLeaveCapacityForOthers(t *testing.T) {
	t.Parallel()
	const most = 60
	for name, begin := range map[string]func(*attacker) (uint32, error){
		"calls without a message": func(a *attacker) (uint32, error) { return a.call("/greet.v1.Greeter/Greet", false) },
		"calls that last":         func(a *attacker) (uint32, error) { return a.call("/test.v1.Test/Wait", true) },
		"health watches":          func(a *attacker) (uint32, error) { return a.call("/grpc.health.v1.Health/Watch", true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serveTarget(t, grpcapi.Config{MaxStreamsPerClient: most}, false)
			var attackers []*attacker
			for range 3 { // 3 connections of at most 50 calls each
				a := attack(t, s)
				attackers = append(attackers, a)
				for range 40 {
					if _, err := begin(a); err != nil {
						t.Fatal(err)
					}
				}
				if !a.Answered(t) {
					t.Fatal("the connection was closed")
				}
			}
			err := greet(t.Context(), s.from(t, "127.0.0.1"))
			if status.Code(err) != codes.ResourceExhausted {
				t.Errorf("the same client: %v", err)
			}
			if e := chassi.ErrorOf(grpcapi.ErrorOf(t.Context(), err)); e.Reason != "too_many_streams" || e.RetryAfter != time.Second {
				t.Errorf("the same client received %+v", e)
			}
			if err := greet(t.Context(), s.from(t, "127.0.0.3")); err != nil {
				t.Errorf("another client: %v", err)
			}
			for _, a := range attackers {
				a.Conn.Close()
			}
			h2test.Until(t, 10*time.Second, func() bool { return greet(t.Context(), s.from(t, "127.0.0.1")) == nil }, "streams that have ended are counted")
		})
	}
}

// Streams are counted for the client that a trusted proxy names.
func TestStreamsBehindAProxyAreTheClients(t *testing.T) {
	t.Parallel()
	s := serveTarget(t, grpcapi.Config{MaxStreamsPerClient: 1, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, false)
	proxy := s.from(t, "127.0.0.1")
	of := func(client string) context.Context {
		return metadata.AppendToOutgoingContext(t.Context(), "x-forwarded-for", client)
	}
	watch, err := healthpb.NewHealthClient(proxy).Watch(of("192.0.2.1"), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	if err := greet(of("192.0.2.1"), proxy); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("the same client: %v", err)
	}
	if err := greet(of("192.0.2.2"), proxy); err != nil {
		t.Errorf("another client: %v", err)
	}
}

// What a client sends faster than it is read stays with the client: no window grows with
// what it sends. Here it is a client that asks for descriptions and does not take them.
func TestUnreadInputIsNotBuffered(t *testing.T) {
	t.Parallel()
	s := serveTarget(t, grpcapi.Config{}, false)
	a := attack(t, s)
	id, err := a.call("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Out.Flush(); err != nil {
		t.Fatal(err)
	}
	sent, windows := 0, newWindows(t, a, id)
	question := bytes.Repeat([]byte("\x00\x00\x00\x00\x03\x3a\x01\x2a"), 4<<10) // list_services
	for windows.wait() {
		for n := windows.take(); n > 0; n = windows.take() {
			offset := sent % 8
			if err := a.WriteData(id, false, question[offset:offset+n]); err != nil {
				t.Fatal(err)
			}
			sent += n
		}
		if err := a.Out.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if sent < 32<<10 || sent > 96<<10 {
		t.Errorf("%d bytes were taken that nobody reads", sent)
	}
	t.Logf("%d bytes were taken", sent)
}

// windows are what the server lets a connection and one of its calls send.
type windows struct {
	attacker  *attacker
	stream    uint32
	frames    <-chan http2.Frame
	call, all int
	initial   int
	mu        sync.Mutex
	pings     [][8]byte
}

func newWindows(t *testing.T, a *attacker, stream uint32) *windows {
	t.Helper()
	const initial = 65535
	w := &windows{attacker: a, stream: stream, call: initial, all: initial, initial: initial}
	frames := make(chan http2.Frame, 1000)
	w.frames = frames
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(frames)
		for {
			f, err := a.ReadFrame()
			if err != nil {
				return
			}
			if _, ok := f.(*http2.DataFrame); ok {
				continue
			}
			w.note(f)
			frames <- nil
		}
	}()
	t.Cleanup(func() {
		a.Conn.Close()
		for range frames {
		}
		<-done
	})
	return w
}

// note adds up what a frame gives. Pings are answered by the writer.
func (w *windows) note(f http2.Frame) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch f := f.(type) {
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			w.all += int(f.Increment)
		} else {
			w.call += int(f.Increment)
		}
	case *http2.SettingsFrame:
		if v, ok := f.Value(http2.SettingInitialWindowSize); ok && !f.IsAck() {
			w.call += int(v) - w.initial
			w.initial = int(v)
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			w.pings = append(w.pings, f.Data)
		}
	}
}

// take returns how many bytes may be sent now, at most 16 KiB, and counts them.
func (w *windows) take() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := max(0, min(w.call, w.all, 16<<10))
	w.call, w.all = w.call-n, w.all-n
	for _, data := range w.pings { // as a client does whose connection is to be measured
		_ = w.attacker.WritePing(true, data)
	}
	w.pings = nil
	return n
}

// wait returns true when the server has said something, false when it is silent for a
// second.
func (w *windows) wait() bool {
	select {
	case _, ok := <-w.frames:
		return ok
	case <-time.After(time.Second):
		return false
	}
}
