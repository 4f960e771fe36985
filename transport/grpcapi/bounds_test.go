package grpcapi_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/h2test"
	"github.com/chassi-go/chassi/transport/grpcapi"
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
func TestConnectionsOfOneClientLeaveOthersTheirs(t *testing.T) {
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
func TestStreamsOfOneClientLeaveOthersTheirs(t *testing.T) {
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
				t.Errorf("the same client was told %+v", e)
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
