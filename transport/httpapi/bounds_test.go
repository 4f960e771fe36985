package httpapi

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/chassi-go/chassi/internal/h2test"
)

// dialFrom connects from a loopback address, which stands for one client.
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

// clientFrom returns a client that connects from a loopback address.
func clientFrom(t *testing.T, from string, trusted *tls.Config) *http.Client {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return d.DialContext(ctx, network, addr)
		},
	}
	if trusted != nil {
		transport.TLSClientConfig = &tls.Config{RootCAs: trusted.RootCAs}
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

// One client that takes all connections it can get, idle or in the middle of a TLS
// handshake, leaves the others theirs.
func TestConnectionsOfOneClientLeaveOthersTheirs(t *testing.T) {
	t.Parallel()
	for _, overTLS := range []bool{false, true} {
		t.Run(fmt.Sprint("TLS=", overTLS), func(t *testing.T) {
			t.Parallel()
			s := serveTarget(t, Config{MaxConnections: 10, MaxConnectionsPerClient: 3}, overTLS)
			var greedy []net.Conn
			for range 3 {
				greedy = append(greedy, dialFrom(t, "127.0.0.2", s.Addr()))
			}
			h2test.Until(t, 5*time.Second, func() bool { open, _ := s.Connections(); return open == 3 }, "the connections are not there")
			for range 20 {
				conn := dialFrom(t, "127.0.0.2", s.Addr())
				answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if !overTLS && (err != nil || answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "") {
					t.Errorf("one too many: %v, %v", answer, err)
				}
				if overTLS && err == nil {
					t.Errorf("one too many: %v", answer)
				}
			}
			if open, refused := s.Connections(); open != 3 || refused != 20 || s.RefusedClients() != 20 {
				t.Errorf("%d open, %d refused, %d for their client", open, refused, s.RefusedClients())
			}

			scheme := map[bool]string{false: "http", true: "https"}[overTLS]
			get := func(from string) error {
				answer, err := clientFrom(t, from, s.tls).Get(scheme + "://" + s.Addr().String() + "/quick")
				if err != nil {
					return err
				}
				_, _ = io.Copy(io.Discard, answer.Body)
				return answer.Body.Close()
			}
			if err := get("127.0.0.3"); err != nil {
				t.Errorf("another client: %v", err)
			}
			greedy[0].Close()
			h2test.Until(t, 5*time.Second, func() bool { return get("127.0.0.2") == nil }, "a connection that was given back cannot be had again")
		})
	}
}

// A trusted proxy stands for many clients.
func TestConnectionsOfAProxyAreNotCounted(t *testing.T) {
	t.Parallel()
	s := serveTarget(t, Config{MaxConnections: 10, MaxConnectionsPerClient: 1, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}}, false)
	for range 5 {
		dialFrom(t, "127.0.0.2", s.Addr())
	}
	h2test.Until(t, 5*time.Second, func() bool { open, _ := s.Connections(); return open == 5 }, "a proxy does not get its connections")
}
