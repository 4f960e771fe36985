package transport

import (
	"net/netip"
	"strings"
	"testing"
)

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// Only a trusted proxy determines the client's address (T20).
func TestClientAddrT20(t *testing.T) {
	t.Parallel()
	const xff, fwd = "X-Forwarded-For", "Forwarded"
	proxies := prefixes("10.0.0.0/8", "fd00::/8")
	cases := map[string]struct {
		peer   string
		header string
		lines  []string
		want   string
	}{
		"no header":                                {"10.0.0.1:99", xff, nil, "10.0.0.1:99"},
		"forged by an untrusted client":            {"203.0.113.7:99", xff, []string{"1.2.3.4"}, "203.0.113.7:99"},
		"forged by an untrusted client, Forwarded": {"203.0.113.7:99", fwd, []string{"for=1.2.3.4"}, "203.0.113.7:99"},
		"untrusted client mapped into IPv6":        {"[::ffff:203.0.113.7]:99", xff, []string{"1.2.3.4"}, "203.0.113.7:99"},
		"proxy mapped into IPv6":                   {"[::ffff:10.0.0.1]:99", xff, []string{"1.2.3.4"}, "1.2.3.4:0"},
		"one hop":                                  {"10.0.0.1:99", xff, []string{"1.2.3.4"}, "1.2.3.4:0"},
		"one hop with port":                        {"10.0.0.1:99", xff, []string{"1.2.3.4:77"}, "1.2.3.4:77"},
		"forged in front":                          {"10.0.0.1:99", xff, []string{"6.6.6.6, 1.2.3.4"}, "1.2.3.4:0"},
		"forged trusted in front":                  {"10.0.0.1:99", xff, []string{"10.0.0.9, 1.2.3.4"}, "1.2.3.4:0"},
		"two proxies":                              {"10.0.0.1:99", xff, []string{"1.2.3.4, 10.0.0.2"}, "1.2.3.4:0"},
		"two lines":                                {"10.0.0.1:99", xff, []string{"6.6.6.6", "1.2.3.4, 10.0.0.2"}, "1.2.3.4:0"},
		"two lines, walked through":                {"10.0.0.1:99", xff, []string{"6.6.6.6,1.2.3.4", "10.0.0.2"}, "1.2.3.4:0"},
		"all trusted":                              {"10.0.0.1:99", xff, []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3:0"},
		"empty":                                    {"10.0.0.1:99", xff, []string{""}, "10.0.0.1:99"},
		"empty last":                               {"10.0.0.1:99", xff, []string{"6.6.6.6,"}, "10.0.0.1:99"},
		"empty behind a trusted one":               {"10.0.0.1:99", xff, []string{"6.6.6.6,,10.0.0.2"}, "10.0.0.2:0"},
		"unknown":                                  {"10.0.0.1:99", xff, []string{"6.6.6.6, unknown"}, "10.0.0.1:99"},
		"name":                                     {"10.0.0.1:99", xff, []string{"6.6.6.6, localhost"}, "10.0.0.1:99"},
		"tabs":                                     {"10.0.0.1:99", xff, []string{"6.6.6.6,\t1.2.3.4\t"}, "1.2.3.4:0"},
		"IPv6":                                     {"10.0.0.1:99", xff, []string{"2001:db8::1"}, "[2001:db8::1]:0"},
		"IPv6 in brackets":                         {"10.0.0.1:99", xff, []string{"[2001:db8::1]"}, "[2001:db8::1]:0"},
		"IPv6 with port":                           {"10.0.0.1:99", xff, []string{"[2001:db8::1]:77"}, "[2001:db8::1]:77"},
		"IPv6 with half a bracket":                 {"10.0.0.1:99", xff, []string{"[2001:db8::1"}, "10.0.0.1:99"},
		"IPv4 in brackets":                         {"10.0.0.1:99", xff, []string{"[1.2.3.4]"}, "10.0.0.1:99"},
		"IPv4 in brackets with port":               {"10.0.0.1:99", xff, []string{"[1.2.3.4]:77"}, "10.0.0.1:99"},
		"mapped":                                   {"10.0.0.1:99", xff, []string{"::ffff:1.2.3.4"}, "1.2.3.4:0"},
		"mapped and trusted":                       {"10.0.0.1:99", xff, []string{"1.2.3.4, ::ffff:10.0.0.2"}, "1.2.3.4:0"},
		"zone":                                     {"10.0.0.1:99", xff, []string{"fe80::1%eth0"}, "10.0.0.1:99"},
		"zone in brackets":                         {"10.0.0.1:99", xff, []string{"[fe80::1%eth0]:77"}, "10.0.0.1:99"},
		"octal":                                    {"10.0.0.1:99", xff, []string{"01.2.3.4"}, "10.0.0.1:99"},
		"port too large":                           {"10.0.0.1:99", xff, []string{"1.2.3.4:65536"}, "10.0.0.1:99"},
		"IPv6 proxy":                               {"[fd00::1]:99", xff, []string{"1.2.3.4, fd00::2"}, "1.2.3.4:0"},
		"50 untrusted clients":                     {"10.0.0.1:99", xff, []string{strings.Repeat("6.6.6.6, ", 49) + "1.2.3.4"}, "1.2.3.4:0"},
		"50 trusted hops":                          {"10.0.0.1:99", xff, []string{"1.2.3.4" + strings.Repeat(", 10.0.0.2", 49)}, "10.0.0.1:99"},
		"20 hops":                                  {"10.0.0.1:99", xff, []string{"1.2.3.4" + strings.Repeat(", 10.0.0.2", 19)}, "1.2.3.4:0"},
		"21 hops":                                  {"10.0.0.1:99", xff, []string{"1.2.3.4" + strings.Repeat(", 10.0.0.2", 20)}, "10.0.0.1:99"},

		"Forwarded":                            {"10.0.0.1:99", fwd, []string{"for=1.2.3.4"}, "1.2.3.4:0"},
		"Forwarded, quoted":                    {"10.0.0.1:99", fwd, []string{`For="[2001:db8:cafe::17]:4711"`}, "[2001:db8:cafe::17]:4711"},
		"Forwarded, parameters":                {"10.0.0.1:99", fwd, []string{"by=10.0.0.9;for=1.2.3.4 ; proto=https;host=example.com"}, "1.2.3.4:0"},
		"Forwarded, two hops":                  {"10.0.0.1:99", fwd, []string{"for=6.6.6.6, for=1.2.3.4, for=10.0.0.2"}, "1.2.3.4:0"},
		"Forwarded, two lines":                 {"10.0.0.1:99", fwd, []string{"for=6.6.6.6", "for=1.2.3.4"}, "1.2.3.4:0"},
		"Forwarded, hidden":                    {"10.0.0.1:99", fwd, []string{"for=6.6.6.6, for=_hidden"}, "10.0.0.1:99"},
		"Forwarded, unknown":                   {"10.0.0.1:99", fwd, []string{"for=6.6.6.6, for=unknown"}, "10.0.0.1:99"},
		"Forwarded, unknown behind a proxy":    {"10.0.0.1:99", fwd, []string{"for=6.6.6.6, for=unknown, for=10.0.0.2"}, "10.0.0.2:0"},
		"Forwarded, no for":                    {"10.0.0.1:99", fwd, []string{"for=6.6.6.6, proto=https"}, "10.0.0.1:99"},
		"Forwarded, two for":                   {"10.0.0.1:99", fwd, []string{"for=6.6.6.6;for=1.2.3.4"}, "10.0.0.1:99"},
		"Forwarded, host with a forged hop":    {"10.0.0.1:99", fwd, []string{`for=1.2.3.4;host="x,for=6.6.6.6"`}, "1.2.3.4:0"},
		"Forwarded, host with a forged for":    {"10.0.0.1:99", fwd, []string{`for=1.2.3.4;host="x;for=6.6.6.6"`}, "1.2.3.4:0"},
		"Forwarded, host with a quote":         {"10.0.0.1:99", fwd, []string{`for=1.2.3.4;host="\",for=6.6.6.6"`}, "1.2.3.4:0"},
		"Forwarded, host with two backslashes": {"10.0.0.1:99", fwd, []string{`host="\\";for=1.2.3.4`}, "1.2.3.4:0"},
		"Forwarded, open quote in front":       {"10.0.0.1:99", fwd, []string{`x=", for=1.2.3.4`}, "1.2.3.4:0"},
		"Forwarded, open quote in line before": {"10.0.0.1:99", fwd, []string{`x="`, `for=1.2.3.4`}, "1.2.3.4:0"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ClientAddr(netip.MustParseAddrPort(c.peer), c.lines, proxies, strings.ToLower(c.header))
			if got.String() != c.want {
				t.Errorf("ClientAddr(%s, %q) = %s, want %s", c.peer, c.lines, got, c.want)
			}
		})
	}
}

// A named client of a broker has no address of its own; the one that it forwards for is
// the rightmost hop that is not a trusted proxy.
func TestForwardedAddr(t *testing.T) {
	t.Parallel()
	proxies := prefixes("10.0.0.0/8")
	for line, want := range map[string]string{
		"":                              "invalid AddrPort",
		"unknown":                       "invalid AddrPort",
		"1.2.3.4":                       "1.2.3.4:0",
		"6.6.6.6, 1.2.3.4":              "1.2.3.4:0",
		"6.6.6.6, 1.2.3.4, 10.0.0.2":    "1.2.3.4:0",
		"1.2.3.4, garbage":              "invalid AddrPort",
		strings.Repeat("10.0.0.1,", 50): "invalid AddrPort",
	} {
		if got := ForwardedAddr([]string{line}, proxies, XForwardedFor); got.String() != want {
			t.Errorf("%q gives %s, want %s", line, got, want)
		}
	}
}

func TestClientAddrDoesNotAllocate(t *testing.T) {
	peer, proxies := netip.MustParseAddrPort("[::ffff:10.0.0.1]:99"), prefixes("10.0.0.0/8")
	for header, lines := range map[string][]string{
		"":            nil,
		XForwardedFor: {"6.6.6.6", "1.2.3.4:77, 10.0.0.2"},
		Forwarded:     {`for=6.6.6.6, for="[2001:db8::1]:77";proto=https`},
	} {
		if n := testing.AllocsPerRun(100, func() { ClientAddr(peer, lines, proxies, header) }); n != 0 {
			t.Errorf("%s: %v allocations", header, n)
		}
	}
}

func FuzzXForwardedFor(f *testing.F) {
	for _, line := range []string{"", "1.2.3.4", "6.6.6.6, [2001:db8::1]:77", "fe80::1%eth0", ",,,", "::ffff:1.2.3.4", "[", "unknown"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) { appendedHopWins(t, "X-Forwarded-For", line, ", 1.2.3.4") })
}

func FuzzForwarded(f *testing.F) {
	for _, line := range []string{"", "for=1.2.3.4", `for="[2001:db8::1]:77";proto=https`, `x="`, `for=1.2.3.4;host="a,for=6.6.6.6"`, `"\"`, "for=_hidden", ";;=,"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		appendedHopWins(t, "Forwarded", line, `, for=1.2.3.4;host="x,y\";for=6.6.6.6"`)
	})
}

// appendedHopWins checks that nothing a client sends changes what its proxy
// appends, and that whatever is made of the client's line is a plain address.
func appendedHopWins(t *testing.T, header, line, appended string) {
	peer, proxies := netip.MustParseAddrPort("10.0.0.1:99"), prefixes("0.0.0.0/0", "::/0")
	name := strings.ToLower(header)
	got := ClientAddr(peer, []string{line}, proxies, name)
	if addr := got.Addr(); !addr.IsValid() || addr.Zone() != "" || addr.Is4In6() {
		t.Errorf("%q gives %s", line, got)
	}
	for _, lines := range [][]string{{line + appended}, {line, appended[2:]}} {
		if got := ClientAddr(peer, lines, prefixes("10.0.0.0/8"), name); got.String() != "1.2.3.4:0" {
			t.Errorf("%q gives %s", lines, got)
		}
	}
}

func BenchmarkClientAddr(b *testing.B) {
	peer, proxies := netip.MustParseAddrPort("10.0.0.1:99"), prefixes("10.0.0.0/8")
	lines := []string{"6.6.6.6, 1.2.3.4"}
	b.ReportAllocs()
	for b.Loop() {
		ClientAddr(peer, lines, proxies, XForwardedFor)
	}
}
