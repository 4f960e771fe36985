package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/h2test"
	"github.com/chassi-go/chassi/ratelimit"
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
	transport := &http.Transport{DialContext: d.DialContext}
	if trusted != nil {
		transport.TLSClientConfig = &tls.Config{RootCAs: trusted.RootCAs}
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

// One client that takes all connections it can get, idle or in the middle of a TLS
// handshake, leaves the others theirs.
func TestConnectionsOfOneClientLeaveCapacityForOthers(t *testing.T) {
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
				response, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if !overTLS && (err != nil || response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "") {
					t.Errorf("one too many: %v, %v", response, err)
				}
				if overTLS && err == nil {
					t.Errorf("one too many: %v", response)
				}
			}
			if open, refused := s.Connections(); open != 3 || refused != 20 || s.RefusedClients() != 20 {
				t.Errorf("%d open, %d refused, %d for their client", open, refused, s.RefusedClients())
			}

			scheme := map[bool]string{false: "http", true: "https"}[overTLS]
			get := func(from string) error {
				response, err := clientFrom(t, from, s.tls).Get(scheme + "://" + s.Addr().String() + "/quick")
				if err != nil {
					return err
				}
				_, _ = io.Copy(io.Discard, response.Body)
				return response.Body.Close()
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

// One client that sends large bodies, and does not finish them, leaves capacity for
// theirs.
func TestLargeBodiesOfOneClientLeaveCapacityForOthers(t *testing.T) {
	t.Parallel()
	const size = 100 << 10
	var s *Server
	serveTest(t, Config{MaxBodyBytes: size, MaxBodyBytesPerClient: 3 * size}, func(server *Server) { s = server })
	begin := func(length string, sent int) net.Conn {
		conn := dialFrom(t, "127.0.0.2", s.Addr())
		fmt.Fprintf(conn, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%s\r\n\r\n", length)
		body := append([]byte(`{"text":"`), bytes.Repeat([]byte("x"), sent)...)
		if length == "Transfer-Encoding: chunked" {
			fmt.Fprintf(conn, "%x\r\n%s\r\n", len(body), body)
		} else if _, err := conn.Write(body); err != nil {
			t.Error(err)
		}
		return conn
	}
	stated := fmt.Sprint("Content-Length: ", size)
	for _, length := range []string{stated, stated, "Transfer-Encoding: chunked"} {
		begin(length, size-100)
	}
	h2test.Until(t, 5*time.Second, func() bool { return s.bodies.all.Load() == 3*size }, "three bodies are not held")
	post := func(from string, n int) int {
		body := `{"text":"` + strings.Repeat("x", n) + `"}`
		response, err := clientFrom(t, from, nil).Post("http://"+s.Addr().String()+"/echo", "application/json", strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return 0
		}
		defer response.Body.Close()
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			t.Error(err)
		}
		if response.StatusCode == http.StatusTooManyRequests && response.Header.Get("Retry-After") != "1" {
			t.Error("no Retry-After")
		}
		return response.StatusCode
	}
	response, err := http.ReadResponse(bufio.NewReader(begin(stated, 80<<10)), nil)
	if err != nil || response.StatusCode != http.StatusTooManyRequests || response.Header.Get("Retry-After") != "1" {
		t.Errorf("one body too many: %v, %v", response, err)
	}
	if got := post("127.0.0.2", 1000); got != http.StatusOK {
		t.Errorf("a small one of the same client: %d", got)
	}
	if got := post("127.0.0.3", 80<<10); got != http.StatusOK {
		t.Errorf("a large one of another client: %d", got)
	}
}

// A body is counted to the end of its call, whatever becomes of that.
func TestLargeBodiesAreReleased(t *testing.T) {
	t.Parallel()
	s, err := New(Config{MaxBodyBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	var during int64
	err = s.Mount(chassi.NewService("test.v1.Test", chassi.NewEndpoint("Echo", func(_ context.Context, r *echoRequest) (*echoResponse, error) {
		if during = s.bodies.all.Load(); r.Text[0] == 'p' {
			panic("boom")
		}
		return &echoResponse{}, nil
	}, chassi.Route("POST /echo"), chassi.Public)))
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]int{
		`{"text":"` + strings.Repeat("x", 200<<10) + `"}`: 200,
		`{"text":"` + strings.Repeat("p", 200<<10) + `"}`: 500,
		`{"text":"` + strings.Repeat("x", 200<<10):        400,
	} {
		during = 0
		r := httptest.NewRequest(http.MethodPost, "/echo", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != want || want != 400 && during != int64(len(body)) {
			t.Errorf("%d, %d bytes held during the call, want %d and %d", w.Code, during, want, len(body))
		}
		if n := s.bodies.all.Load(); n != 0 || s.bodies.clients.Len() != 0 {
			t.Errorf("%d bytes are held after the call", n)
		}
	}
}

// All bodies may take eight times what those of one client may, which is at least one body of
// the largest size.
func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ body, perClient, want, all int64 }{
		{10, 20, 20, 160},
		{30, 20, 30, 240},
		{1, math.MaxInt64 / 8, math.MaxInt64 / 8, math.MaxInt64 / 8 * 8},
		{1, math.MaxInt64/8 + 1, math.MaxInt64/8 + 1, math.MaxInt64},
		{math.MaxInt64, 20, math.MaxInt64, math.MaxInt64},
	} {
		if b := newBodies(Config{MaxBodyBytes: c.body, MaxBodyBytesPerClient: c.perClient}); b.perClient != c.want || b.max != c.all {
			t.Errorf("%+v: %d for a client, %d for all", c, b.perClient, b.max)
		}
	}
	b := newBodies(Config{MaxBodyBytes: 10, MaxBodyBytesPerClient: 20})
	key := func(i int) ratelimit.Key { return ratelimit.AddrKey(netip.AddrFrom4([4]byte{127, 0, 0, byte(i)})) }
	for i := range 8 {
		if !b.acquire(key(i), 20) {
			t.Errorf("client %d of 8 does not get its share", i)
		}
	}
	if b.acquire(key(9), 1) || b.acquire(key(9), math.MaxInt64) || b.all.Load() != 160 {
		t.Errorf("a ninth client gets some; %d bytes held", b.all.Load())
	}
	b.release(key(0), 20)
	if b.acquire(key(1), 1) || !b.acquire(key(0), 20) || b.all.Load() != 160 {
		t.Errorf("%d bytes held", b.all.Load())
	}
}
