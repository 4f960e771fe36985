package disctest

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// DNS is a DNS server over UDP. Unless Silent is set, it responds to each query with RCode and with
// those IPs or SRVs that have the type of the question. The fields of a DNS must be accessed through
// [DNS.Set].
type DNS struct {
	RCode  dnsmessage.RCode
	Silent bool // send no responses
	IPs    []netip.Addr
	SRVs   []dnsmessage.SRVResource
	Asked  int // number of queries so far

	conn *net.UDPConn
	mu   sync.Mutex
}

// StartDNS starts a server and returns it. The server is stopped at the end of the test.
func StartDNS(t *testing.T) *DNS {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s := &DNS{conn: conn}
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

// Addr returns the host:port of the server.
func (s *DNS) Addr() string { return s.conn.LocalAddr().String() }

// Resolver returns a resolver that queries only the DNS server at addr.
func Resolver(addr string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", addr)
	}}
}

// Set calls change, which may read and change the fields of s.
func (s *DNS) Set(change func(*DNS)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *DNS) serve() {
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
		if response, ok := s.respond(query); ok {
			_, _ = s.conn.WriteToUDPAddrPort(response, from)
		}
	}
}

func (s *DNS) respond(query dnsmessage.Message) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Asked++
	question := query.Questions[0]
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: query.ID, Response: true, Authoritative: true, RecursionAvailable: true, RCode: s.RCode},
		Questions: []dnsmessage.Question{question},
	}
	add := func(body dnsmessage.ResourceBody) {
		header := dnsmessage.ResourceHeader{Name: question.Name, Type: question.Type, Class: dnsmessage.ClassINET, TTL: 1}
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: body})
	}
	for _, ip := range s.IPs {
		switch {
		case question.Type == dnsmessage.TypeA && ip.Is4():
			add(&dnsmessage.AResource{A: ip.As4()})
		case question.Type == dnsmessage.TypeAAAA && ip.Is6():
			add(&dnsmessage.AAAAResource{AAAA: ip.As16()})
		}
	}
	if question.Type == dnsmessage.TypeSRV {
		for _, srv := range s.SRVs {
			add(&srv)
		}
	}
	packed, err := m.Pack()
	return packed, err == nil && !s.Silent
}
