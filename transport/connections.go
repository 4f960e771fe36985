package transport

import (
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/chassi-go/chassi/ratelimit"
)

// Connections counts and limits the open connections of a listener, in total and for each
// client network: an IPv4 address or an IPv6 /64, as in [chassi.Call.Source]. Its memory is
// proportional to the open connections. It is safe for concurrent use.
type Connections struct {
	max, perClient                int64
	exempt                        []netip.Prefix
	clients                       *ratelimit.Usage
	open, refused, refusedClients atomic.Int64
}

// NewConnections returns Connections without open connections. Limit is the maximum number of open
// connections in total, and perClient that of one client network; if perClient is 0, the [Share]
// of limit applies instead. Connections from the networks in exempt, which are proxies for many
// clients, count only towards limit.
func NewConnections(limit, perClient int, exempt []netip.Prefix) *Connections {
	return &Connections{max: int64(limit), perClient: int64(Share(perClient, limit)), exempt: exempt, clients: ratelimit.NewUsage()}
}

// Share returns the maximum number of connections of one client: perClient, or a tenth of
// limit, rounded up, if perClient is 0.
func Share(perClient, limit int) int {
	if perClient > 0 {
		return perClient
	}
	return (limit + 9) / 10
}

// Slot is the state of one counted connection. The zero value is that of a connection that is not
// counted.
type Slot struct {
	connections *Connections
	client      ratelimit.Key
	counted     bool // whether the connection also counts for its client
	released    atomic.Bool
}

// Acquire counts a connection from addr, records it in slot, which must be a zero value, and
// returns true. The slot must be released when the connection is closed. If a limit is reached,
// Acquire counts a refusal, does not change slot and returns false.
func (c *Connections) Acquire(slot *Slot, addr net.Addr) bool {
	if c.open.Add(1) > c.max {
		c.open.Add(-1)
		c.refused.Add(1)
		return false
	}
	client, counted := c.clientOf(addr)
	if counted && !c.clients.Acquire(client, 1, c.perClient) {
		c.open.Add(-1)
		c.refused.Add(1)
		c.refusedClients.Add(1)
		return false
	}
	slot.connections, slot.client, slot.counted = c, client, counted
	return true
}

// Release ends the count of the connection. Only the first call has an effect.
func (s *Slot) Release() {
	if s.connections == nil || s.released.Swap(true) {
		return
	}
	if s.counted {
		s.connections.clients.Release(s.client, 1)
	}
	s.connections.open.Add(-1)
}

// Counts returns the number of connections that are open, and of those refused so far.
func (c *Connections) Counts() (open, refused int64) { return c.open.Load(), c.refused.Load() }

// RefusedClients returns the number of connections refused so far because of the limit of their
// client.
func (c *Connections) RefusedClients() int64 { return c.refusedClients.Load() }

// clientOf returns the key of the client network of addr, and whether its connections are counted.
// They are not if addr is in an exempt network or is not a TCP address.
func (c *Connections) clientOf(addr net.Addr) (ratelimit.Key, bool) {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return ratelimit.Key{}, false
	}
	ip := tcp.AddrPort().Addr().Unmap()
	return ratelimit.AddrKey(ip), ip.IsValid() && !isTrusted(ip, c.exempt)
}
