package discovery_test

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/chassi-go/chassi/discovery"
	"github.com/chassi-go/chassi/internal/disctest"
	"golang.org/x/net/dns/dnsmessage"
)

// nameServer is a DNS server on UDP that answers with what it is told.
type nameServer struct {
	conn *net.UDPConn

	mu     sync.Mutex
	rcode  dnsmessage.RCode
	silent bool
	ips    []netip.Addr
	srvs   []dnsmessage.SRVResource
	asked  int
}

func startNameServer(t *testing.T) *nameServer {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{conn: conn}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serve()
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return s
}

func (s *nameServer) set(change func(*nameServer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *nameServer) serve() {
	packet := make([]byte, 512)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(packet)
		if err != nil {
			return
		}
		var query dnsmessage.Message
		if query.Unpack(packet[:n]) != nil {
			continue
		}
		if answer, ok := s.answer(query); ok {
			s.conn.WriteToUDPAddrPort(answer, from)
		}
	}
}

func (s *nameServer) answer(query dnsmessage.Message) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	question := query.Questions[0]
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: query.ID, Response: true, Authoritative: true, RecursionAvailable: true, RCode: s.rcode},
		Questions: []dnsmessage.Question{question},
	}
	add := func(body dnsmessage.ResourceBody) {
		header := dnsmessage.ResourceHeader{Name: question.Name, Type: question.Type, Class: dnsmessage.ClassINET, TTL: 1}
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: body})
	}
	for _, ip := range s.ips {
		switch {
		case question.Type == dnsmessage.TypeA && ip.Is4():
			add(&dnsmessage.AResource{A: ip.As4()})
		case question.Type == dnsmessage.TypeAAAA && ip.Is6():
			add(&dnsmessage.AAAAResource{AAAA: ip.As16()})
		}
	}
	if question.Type == dnsmessage.TypeSRV {
		for _, srv := range s.srvs {
			add(&srv)
		}
	}
	packed, err := m.Pack()
	return packed, err == nil && !s.silent
}

func (s *nameServer) options() discovery.DNSOptions {
	return discovery.DNSOptions{
		Interval: 20 * time.Millisecond, Timeout: 500 * time.Millisecond,
		Resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "udp", s.conn.LocalAddr().String())
		}},
	}
}

func parseIPs(texts ...string) (ips []netip.Addr) {
	for _, text := range texts {
		ips = append(ips, netip.MustParseAddr(text))
	}
	return ips
}

func TestDNSFollowsAddresses(t *testing.T) {
	t.Parallel()
	server := startNameServer(t)
	server.set(func(s *nameServer) { s.ips = parseIPs("10.0.0.2", "10.0.0.1", "2001:db8::1") })
	source, err := discovery.DNS("auth.test.:9090", server.options())
	if err != nil {
		t.Fatal(err)
	}
	var l disctest.Log
	updates := disctest.Follow(t, source, &l)
	disctest.Expect(t, updates, "10.0.0.1:9090", "10.0.0.2:9090", "[2001:db8::1]:9090")
	server.set(func(s *nameServer) { s.ips = parseIPs("10.0.0.2", "10.0.0.3") })
	disctest.Expect(t, updates, "10.0.0.2:9090", "10.0.0.3:9090")
}

// Fault 42: DNS fails in every way it has.
func TestDNSFails(t *testing.T) {
	t.Parallel()
	failures := map[string]func(*nameServer){
		"NXDOMAIN":     func(s *nameServer) { s.rcode = dnsmessage.RCodeNameError; s.ips = nil },
		"SERVFAIL":     func(s *nameServer) { s.rcode = dnsmessage.RCodeServerFailure; s.ips = nil },
		"never":        func(s *nameServer) { s.silent = true },
		"no addresses": func(s *nameServer) { s.ips = nil },
	}
	for name, fail := range failures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startNameServer(t)
			server.set(func(s *nameServer) { s.ips = parseIPs("10.0.0.1") })
			source, err := discovery.DNS("auth.test.:9090", server.options())
			if err != nil {
				t.Fatal(err)
			}
			var l disctest.Log
			updates := disctest.Follow(t, source, &l)
			disctest.Expect(t, updates, "10.0.0.1:9090")
			before := 0
			server.set(func(s *nameServer) { fail(s); before = s.asked })
			disctest.Eventually(t, "several lookups", func() (many bool) {
				server.set(func(s *nameServer) { many = s.asked > before+6 })
				return many
			})
			if n := l.Count("discovery fails"); n != 1 || len(updates) != 0 {
				t.Errorf("logged %d times with %d updates, want once and none", n, len(updates))
			}
			server.set(func(s *nameServer) { s.rcode, s.silent, s.ips = 0, false, parseIPs("10.0.0.2") })
			disctest.Expect(t, updates, "10.0.0.2:9090")
			if n := l.Count("discovery works again"); n != 1 {
				t.Errorf("its end is logged %d times", n)
			}
		})
	}
}

func TestDNSErrorIsInTime(t *testing.T) {
	t.Parallel()
	server := startNameServer(t)
	server.set(func(s *nameServer) { s.silent = true })
	a, errA := discovery.DNS("auth.test.:9090", server.options())
	srv, errSRV := discovery.SRV("_grpc._tcp.auth.test.", server.options())
	if errA != nil || errSRV != nil {
		t.Fatal(errA, errSRV)
	}
	for name, source := range map[string]discovery.Source{"DNS": a, "SRV": srv} {
		began := time.Now()
		addrs, err := source.Next(t.Context())
		if took := time.Since(began); err == nil || took > 3*time.Second {
			t.Errorf("%s: %q, %v after %v, want an error within 0.5 s", name, addrs, err, took)
		}
	}
}

func srvRecord(priority, port uint16, target string) dnsmessage.SRVResource {
	return dnsmessage.SRVResource{Priority: priority, Weight: 1, Port: port, Target: dnsmessage.MustNewName(target)}
}

func TestSRVTakesTheBestPriority(t *testing.T) {
	t.Parallel()
	server := startNameServer(t)
	server.set(func(s *nameServer) {
		s.srvs = []dnsmessage.SRVResource{srvRecord(20, 1, "backup.test."), srvRecord(10, 9091, "b.test."), srvRecord(10, 9090, "a.test.")}
	})
	source, err := discovery.SRV("_grpc._tcp.auth.test.", server.options())
	if err != nil {
		t.Fatal(err)
	}
	var l disctest.Log
	updates := disctest.Follow(t, source, &l)
	disctest.Expect(t, updates, "a.test:9090", "b.test:9091")
	server.set(func(s *nameServer) { s.srvs = s.srvs[:1] })
	disctest.Expect(t, updates, "backup.test:1")
	// RFC 2782: a target of "." says that the service is decidedly not there.
	server.set(func(s *nameServer) { s.srvs = []dnsmessage.SRVResource{srvRecord(0, 0, ".")} })
	disctest.Eventually(t, "the loss is logged", func() bool { return l.Count("discovery fails") == 1 })
	if l.Count(discovery.ErrNone.Error()) == 0 {
		t.Errorf("the log does not say that there is none")
	}
}
