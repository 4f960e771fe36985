package transport

import (
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/chassi-go/chassi/ratelimit"
)

// Connections counts and limits the open connections of a listener, in total and for each client
// network, which is an IPv4 address or an IPv6 /64, as in [chassi.Call.Source]. Its memory use is
// proportional to the number of open connections. It is safe for concurrent use.
type Connections struct {
	max, perClient                int64
	exempt                        []netip.Prefix
	clients                       *ratelimit.Usage
	open, refused, refusedClients atomic.Int64
}

// NewConnections returns Connections that allow at most limit open connections in total, and at
// most perClient open connections of each client network. If perClient is 0, the maximum for each
// client network is a tenth of limit, rounded up. Connections from the networks in exempt, which
// are proxies for many clients, count only toward limit.
func NewConnections(limit, perClient int, exempt []netip.Prefix) *Connections {
	return &Connections{max: int64(limit), perClient: int64(Share(perClient, limit)), exempt: exempt, clients: ratelimit.NewUsage()}
}

// Share returns the maximum number of open connections of one client, which is perClient if
// perClient is positive, and otherwise a tenth of limit, rounded up.
func Share(perClient, limit int) int {
	if perClient > 0 {
		return perClient
	}
	return (limit + 9) / 10
}

// Slot is the record of one counted connection. The zero value is the slot of a connection that is
// not counted.
type Slot struct {
	connections *Connections
	client      ratelimit.Key
	counted     bool // whether the connection also counts toward the limit of its client
	released    atomic.Bool
}

// Acquire counts a connection from addr, records the connection in slot and returns true. If a
// limit is reached, Acquire counts a refusal, leaves slot unchanged and returns false. Slot must be
// the zero value. The caller must release slot when the connection is closed.
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

// Release stops counting the connection that is recorded in s, if any. Only the first call has an
// effect.
func (s *Slot) Release() {
	if s.connections == nil || s.released.Swap(true) {
		return
	}
	if s.counted {
		s.connections.clients.Release(s.client, 1)
	}
	s.connections.open.Add(-1)
}

// Counts returns the number of open connections, and the number of connections refused so far.
func (c *Connections) Counts() (open, refused int64) { return c.open.Load(), c.refused.Load() }

// RefusedClients returns the number of connections refused so far because their client network had
// the maximum number of open connections.
func (c *Connections) RefusedClients() int64 { return c.refusedClients.Load() }

// clientOf returns the key of the client network of addr, and whether connections from addr count
// toward the limit of that network. They do not count if addr is in an exempt network or is not a
// TCP address.
func (c *Connections) clientOf(addr net.Addr) (ratelimit.Key, bool) {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return ratelimit.Key{}, false
	}
	ip := tcp.AddrPort().Addr().Unmap()
	return ratelimit.AddrKey(ip), ip.IsValid() && !isTrusted(ip, c.exempt)
}
