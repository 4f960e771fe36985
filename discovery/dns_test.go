package discovery_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/chassi-go/chassi/discovery"
	"github.com/chassi-go/chassi/internal/disctest"
	"golang.org/x/net/dns/dnsmessage"
)

func options(s *disctest.DNS) discovery.DNSOptions {
	return discovery.DNSOptions{
		Interval: 20 * time.Millisecond, Timeout: 500 * time.Millisecond,
		Resolver: disctest.Resolver(s.Addr()),
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
	server := disctest.StartDNS(t)
	server.Set(func(s *disctest.DNS) { s.IPs = parseIPs("10.0.0.2", "10.0.0.1", "2001:db8::1") })
	source, err := discovery.DNS("auth.test.:9090", options(server))
	if err != nil {
		t.Fatal(err)
	}
	var l disctest.Log
	updates := disctest.Follow(t, source, &l)
	disctest.Expect(t, updates, "10.0.0.1:9090", "10.0.0.2:9090", "[2001:db8::1]:9090")
	server.Set(func(s *disctest.DNS) { s.IPs = parseIPs("10.0.0.2", "10.0.0.3") })
	disctest.Expect(t, updates, "10.0.0.2:9090", "10.0.0.3:9090")
}

// Fault 42: DNS fails in every way it has.
func TestDNSFails(t *testing.T) {
	t.Parallel()
	failures := map[string]func(*disctest.DNS){
		"NXDOMAIN":     func(s *disctest.DNS) { s.RCode = dnsmessage.RCodeNameError; s.IPs = nil },
		"SERVFAIL":     func(s *disctest.DNS) { s.RCode = dnsmessage.RCodeServerFailure; s.IPs = nil },
		"never":        func(s *disctest.DNS) { s.Silent = true },
		"no addresses": func(s *disctest.DNS) { s.IPs = nil },
	}
	for name, fail := range failures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := disctest.StartDNS(t)
			server.Set(func(s *disctest.DNS) { s.IPs = parseIPs("10.0.0.1") })
			source, err := discovery.DNS("auth.test.:9090", options(server))
			if err != nil {
				t.Fatal(err)
			}
			var l disctest.Log
			updates := disctest.Follow(t, source, &l)
			disctest.Expect(t, updates, "10.0.0.1:9090")
			before := 0
			server.Set(func(s *disctest.DNS) { fail(s); before = s.Asked })
			disctest.Eventually(t, "several lookups", func() (many bool) {
				server.Set(func(s *disctest.DNS) { many = s.Asked > before+6 })
				return many
			})
			if n := l.Count("discovery fails"); n != 1 || len(updates) != 0 {
				t.Errorf("logged %d times with %d updates, want once and none", n, len(updates))
			}
			server.Set(func(s *disctest.DNS) { s.RCode, s.Silent, s.IPs = 0, false, parseIPs("10.0.0.2") })
			disctest.Expect(t, updates, "10.0.0.2:9090")
			if n := l.Count("discovery works again"); n != 1 {
				t.Errorf("its end is logged %d times", n)
			}
		})
	}
}

func TestDNSErrorIsInTime(t *testing.T) {
	t.Parallel()
	server := disctest.StartDNS(t)
	server.Set(func(s *disctest.DNS) { s.Silent = true })
	a, errA := discovery.DNS("auth.test.:9090", options(server))
	srv, errSRV := discovery.SRV("_grpc._tcp.auth.test.", options(server))
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

func TestSRVUsesTheBestPriority(t *testing.T) {
	t.Parallel()
	server := disctest.StartDNS(t)
	server.Set(func(s *disctest.DNS) {
		s.SRVs = []dnsmessage.SRVResource{srvRecord(20, 1, "backup.test."), srvRecord(10, 9091, "b.test."), srvRecord(10, 9090, "a.test.")}
	})
	source, err := discovery.SRV("_grpc._tcp.auth.test.", options(server))
	if err != nil {
		t.Fatal(err)
	}
	var l disctest.Log
	updates := disctest.Follow(t, source, &l)
	disctest.Expect(t, updates, "a.test:9090", "b.test:9091")
	server.Set(func(s *disctest.DNS) { s.SRVs = s.SRVs[:1] })
	disctest.Expect(t, updates, "backup.test:1")
	// RFC 2782: a target of "." says that the service is decidedly not there.
	server.Set(func(s *disctest.DNS) { s.SRVs = []dnsmessage.SRVResource{srvRecord(0, 0, ".")} })
	disctest.Eventually(t, "the loss is logged", func() bool { return l.Count("discovery fails") == 1 })
	if l.Count(discovery.ErrNoInstances.Error()) == 0 {
		t.Errorf("the log does not say that no instance was found")
	}
}

// The responses of a name server are not trusted: 0.0.0.0, a group, and port 0 are never called.
func TestDNSResponsesThatCannotBeCalled(t *testing.T) {
	t.Parallel()
	server := disctest.StartDNS(t)
	server.Set(func(s *disctest.DNS) {
		s.IPs = parseIPs("0.0.0.0", "10.0.0.1", "224.0.0.1", "255.255.255.255", "::", "ff02::1")
		s.SRVs = []dnsmessage.SRVResource{
			{Priority: 1, Port: 0, Target: dnsmessage.MustNewName("a.test.")}, {Priority: 1, Port: 80, Target: dnsmessage.MustNewName("b.test.")},
			{Priority: 1, Port: 80, Target: dnsmessage.MustNewName("0.0.0.0.")},
		}
	})
	hosts, err := discovery.DNS("auth.test.:9090", options(server))
	if err != nil {
		t.Fatal(err)
	}
	var l disctest.Log
	disctest.Expect(t, disctest.Follow(t, hosts, &l), "10.0.0.1:9090")
	if l.Count("entries are skipped") != 1 || l.Count("skipped=5") != 1 {
		t.Errorf("want one warning:\n%s", &l)
	}
	targets, err := discovery.SRV("_grpc._tcp.test.", options(server))
	if err != nil {
		t.Fatal(err)
	}
	disctest.Expect(t, disctest.Follow(t, targets, &l), "b.test:80")
}

// Nor are settings: addresses that cannot be called are refused at once.
func TestTextsThatCannotBeCalled(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"host:0", "host:70000", "0.0.0.0:80", "[::]:80", "a b:80", "static:host:80,0.0.0.0:80", "dns:host:0", "dns::80", "10.0.0.256:80", "host", "static:",
	} {
		if _, err := discovery.Parse(text); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}
