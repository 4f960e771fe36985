package httpapi

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/ratelimit"
)

// smallBody is the maximum length of a body that is not counted: such bodies are limited by the
// number of calls in flight of each client.
const smallBody = bufferBytes

// clientsWithBodies is the number of clients that can use their whole share of the memory at once.
const clientsWithBodies = 8

var errTooManyBodies = chassi.NewError(chassi.ResourceExhausted, "too_many_large_bodies", "Too many large requests at once").WithRetryAfter(time.Second)

// bodies limits the memory for large request bodies, from their reading to the end of their
// calls: per client, and in total.
type bodies struct {
	perClient, max int64
	clients        *ratelimit.Usage
	all            atomic.Int64
}

// newBodies returns limits that admit at least one body of the maximum size.
func newBodies(c Config) *bodies {
	perClient := max(c.MaxBodyBytesPerClient, c.MaxBodyBytes)
	all := int64(math.MaxInt64)
	if perClient <= all/clientsWithBodies {
		all = clientsWithBodies * perClient
	}
	return &bodies{perClient: perClient, max: all, clients: ratelimit.NewUsage()}
}

func (b *bodies) acquire(client ratelimit.Key, n int64) bool {
	if all := b.all.Add(n); all >= 0 && all <= b.max && b.clients.Acquire(client, n, b.perClient) { // negative: overflow
		return true
	}
	b.all.Add(-n)
	return false
}

func (b *bodies) release(client ratelimit.Key, n int64) {
	b.clients.Release(client, n)
	b.all.Add(-n)
}

// holdBody counts a large body of n bytes, or of the maximum length if n is negative. It returns
// errTooManyBodies if the body would exceed a limit.
func (x *exchange) holdBody(n int64) error {
	if n < 0 {
		n = x.route.maxBody
	}
	if !x.server.bodies.acquire(ratelimit.AddrKey(x.call.Peer.Addr()), n) {
		return errTooManyBodies
	}
	x.held = n
	return nil
}

func (x *exchange) releaseBody() {
	if x.held > 0 {
		x.server.bodies.release(ratelimit.AddrKey(x.call.Peer.Addr()), x.held)
		x.held = 0
	}
}
