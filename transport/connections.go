package transport

import (
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/chassi-go/chassi/ratelimit"
)

// Connections counts the open connections of one listener and bounds them, for all clients
// together and for each client network: an IPv4 address or an IPv6 /64, as in
// [chassi.Call.Source]. Memory follows the open connections. It is safe for concurrent use.
type Connections struct {
	max, perClient                int64
	exempt                        []netip.Prefix
	clients                       *ratelimit.Usage
	open, refused, refusedClients atomic.Int64
}

// NewConnections returns a count of none. Limit bounds the connections of all clients,
// perClient those of one network; perClient 0 is [Share] of limit. Connections from the
// networks in exempt, which are proxies that stand for many clients, count for limit alone.
func NewConnections(limit, perClient int, exempt []netip.Prefix) *Connections {
	return &Connections{max: int64(limit), perClient: int64(Share(perClient, limit)), exempt: exempt, clients: ratelimit.NewUsage()}
}

// Share returns how much of limit one client may have: perClient, or a tenth of limit, rounded
// up, if perClient is 0.
func Share(perClient, limit int) int {
	if perClient > 0 {
		return perClient
	}
	return (limit + 9) / 10
}

// Slot is what one open connection holds. The zero value holds nothing.
type Slot struct {
	connections *Connections
	client      ratelimit.Key
	counted     bool // for its client
	released    atomic.Bool
}

// Acquire counts a connection from addr, which slot is to release. If there is no room it
// returns false and counts a refusal, and slot holds nothing.
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

// Release ends the connection's count. Only the first call has an effect.
func (s *Slot) Release() {
	if s.connections == nil || s.released.Swap(true) {
		return
	}
	if s.counted {
		s.connections.clients.Release(s.client, 1)
	}
	s.connections.open.Add(-1)
}

// Counts returns how many connections are open, and how many were refused so far.
func (c *Connections) Counts() (open, refused int64) { return c.open.Load(), c.refused.Load() }

// RefusedClients returns how many of the refused connections were too many for their
// client, not for all.
func (c *Connections) RefusedClients() int64 { return c.refusedClients.Load() }

// clientOf returns false for addresses that are not counted: exempt ones, and those of
// other networks than TCP.
func (c *Connections) clientOf(addr net.Addr) (ratelimit.Key, bool) {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return ratelimit.Key{}, false
	}
	ip := tcp.AddrPort().Addr().Unmap()
	return ratelimit.AddrKey(ip), ip.IsValid() && !isTrusted(ip, c.exempt)
}
