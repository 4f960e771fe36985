package transport_test

import (
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/chassi-go/chassi/transport"
)

func tcpAddr(text string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(text)) }

func TestOneClientLeavesConnectionsToOthers(t *testing.T) {
	t.Parallel()
	c := transport.NewConnections(10, 3, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	slots := make([]transport.Slot, 20)
	for i, step := range []struct {
		from string
		want bool
	}{
		{"192.0.2.1:1", true},
		{"192.0.2.1:2", true},
		{"[::ffff:192.0.2.1]:3", true}, // the same address
		{"192.0.2.1:4", false},
		{"192.0.2.2:1", true},
		{"[2001:db8::1]:1", true},
		{"[2001:db8::2]:1", true}, // the same /64
		{"[2001:db8::3]:1", true},
		{"[2001:db8::4]:1", false},
		{"[2001:db8:0:1::1]:1", true},
		{"10.1.2.3:1", true}, // a proxy
		{"10.1.2.3:2", true},
		{"192.0.2.3:1", false}, // the eleventh
	} {
		if got := c.Acquire(&slots[i], tcpAddr(step.from)); got != step.want {
			t.Errorf("step %d, %s: %v, want %v", i, step.from, got, step.want)
		}
	}
	if open, refused := c.Counts(); open != 10 || refused != 3 || c.RefusedClients() != 2 {
		t.Errorf("%d open, %d refused, %d of them for their client", open, refused, c.RefusedClients())
	}
	for i := range slots {
		slots[i].Release()
		slots[i].Release()
	}
	if open, _ := c.Counts(); open != 0 {
		t.Errorf("%d open after all have gone", open)
	}
	var again [3]transport.Slot
	for i := range again {
		if !c.Acquire(&again[i], tcpAddr("192.0.2.1:1")) {
			t.Error("a place that was given back is not there")
		}
	}
}

// Proxies are exempt from the bound of one client, not from that of all.
func TestProxiesCountForAll(t *testing.T) {
	t.Parallel()
	c := transport.NewConnections(2, 1, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	var slots [3]transport.Slot
	if !c.Acquire(&slots[0], tcpAddr("10.0.0.1:1")) || !c.Acquire(&slots[1], tcpAddr("10.0.0.1:2")) || c.Acquire(&slots[2], tcpAddr("10.0.0.1:3")) {
		t.Error("a proxy does not get 2 of 2, or more")
	}
}

func TestConnectionsWithoutAnAddress(t *testing.T) {
	t.Parallel()
	c := transport.NewConnections(2, 1, nil)
	var slots [2]transport.Slot
	for i := range slots {
		if !c.Acquire(&slots[i], &net.UnixAddr{Name: "socket"}) {
			t.Error("a connection over a Unix socket was refused")
		}
	}
}

func TestConnectionsComeAndGoAtOnce(t *testing.T) {
	t.Parallel()
	c := transport.NewConnections(8, 4, nil)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			addr := tcpAddr([]string{"192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"}[i%3])
			for range 1000 {
				var slot transport.Slot
				if c.Acquire(&slot, addr) {
					slot.Release()
				}
			}
		})
	}
	all.Wait()
	if open, _ := c.Counts(); open != 0 {
		t.Errorf("%d open at the end", open)
	}
}

func TestShare(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]int{{0, 10_000, 1000}, {0, 1, 1}, {0, 11, 2}, {7, 10_000, 7}, {10_000, 10_000, 10_000}} {
		if got := transport.Share(c[0], c[1]); got != c[2] {
			t.Errorf("Share(%d, %d) = %d, want %d", c[0], c[1], got, c[2])
		}
	}
}
