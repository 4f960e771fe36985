package ratelimit_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/chassi-go/chassi/ratelimit"
)

func TestAddrKeyT20(t *testing.T) {
	t.Parallel()
	tests := []struct {
		a, b string
		same bool
		why  string
	}{
		{"192.0.2.1", "192.0.2.1", true, "an address is itself"},
		{"192.0.2.1", "192.0.2.2", false, "IPv4 is not grouped"},
		{"192.0.2.1", "::ffff:192.0.2.1", true, "mapped is the same client"},
		{"::ffff:192.0.2.1", "::ffff:192.0.2.2", false, "mapped is not grouped by /64"},
		{"2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true, "one /64"},
		{"2001:db8::1", "2001:db8:0:1::1", false, "two /64"},
		{"fe80::1%eth0", "fe80::2%eth1", true, "zones do not multiply a client"},
		{"0.0.0.5", "0:0:0:5::", false, "families do not meet"},
		{"::", "0.0.0.0", false, "families do not meet at zero"},
	}
	for _, test := range tests {
		a := ratelimit.AddrKey(netip.MustParseAddr(test.a))
		b := ratelimit.AddrKey(netip.MustParseAddr(test.b))
		if (a == b) != test.same {
			t.Errorf("%s and %s: same key %v, want %v: %s", test.a, test.b, a == b, test.same, test.why)
		}
	}
	if ratelimit.AddrKey(netip.Addr{}) == ratelimit.AddrKey(netip.MustParseAddr("::")) {
		t.Error("no address has the key of an address")
	}
}

func TestStringKey(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 1<<20)
	keys := map[ratelimit.Key]string{}
	for _, name := range []string{"", "a", "b", "A", "a\x00", long, long + "a"} {
		if other, taken := keys[ratelimit.StringKey(name)]; taken {
			t.Errorf("%.10q and %.10q share a key", name, other)
		}
		keys[ratelimit.StringKey(name)] = name
	}
	if ratelimit.StringKey("a"+long) != ratelimit.StringKey(long+"a") {
		t.Error("equal names, different keys")
	}
}

// Keys are the same on all nodes and in all releases: servers that count keep them by
// this text.
func TestKeyString(t *testing.T) {
	t.Parallel()
	for want, key := range map[string]ratelimit.Key{
		"00000000000000000000000000000000": {},
		"000000000000000100000000c0000201": ratelimit.AddrKey(netip.MustParseAddr("192.0.2.1")),
		"000000000000000220010db800010002": ratelimit.AddrKey(netip.MustParseAddr("2001:db8:1:2:3::4")),
		// The first half of the SHA-256 of "a", with its highest bit set.
		"ca978112ca1bbdcafac231b39a23dc4d": ratelimit.StringKey("a"),
	} {
		if got := key.String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
