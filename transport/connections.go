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

// NewConnections returns Connections without open connections. Limit is the maximum of all
// clients, perClient that of one network; if perClient is 0 it is [Share] of limit. Connections
// from the networks in exempt, which are proxies for many clients, count only towards limit.
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

// Slot is the state of one counted connection. The zero value is not counted.
type Slot struct {
	connections *Connections
	client      ratelimit.Key
	counted     bool // also for its client
	released    atomic.Bool
}

// Acquire counts a connection from addr in slot, which must be released. If a limit is reached
// it counts a refusal, leaves slot zero and returns false.
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

// Counts returns the number of open connections and of refused connections so far.
func (c *Connections) Counts() (open, refused int64) { return c.open.Load(), c.refused.Load() }

// RefusedClients returns the number of connections refused because of the limit of their
// client.
func (c *Connections) RefusedClients() int64 { return c.refusedClients.Load() }

// clientOf returns false for addresses that are not counted: exempt ones, and those of networks
// other than TCP.
func (c *Connections) clientOf(addr net.Addr) (ratelimit.Key, bool) {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return ratelimit.Key{}, false
	}
	ip := tcp.AddrPort().Addr().Unmap()
	return ratelimit.AddrKey(ip), ip.IsValid() && !isTrusted(ip, c.exempt)
}
