package httpapi

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/ratelimit"
)

// smallBody is the maximum length in bytes of a body that does not count toward the limits for
// large bodies. Instead, the number of calls in flight of each client limits the number of such
// bodies.
const smallBody = bufferBytes

// clientsWithBodies is the number of clients that can use their whole share of the memory for large
// request bodies at the same time.
const clientsWithBodies = 8

var errTooManyBodies = chassi.NewError(chassi.ResourceExhausted, "too_many_large_bodies", "Too many large requests are in progress").WithRetryAfter(time.Second)

// bodies limits the memory for large request bodies, for each client and in total. A large body
// counts from when it is read until the end of its call.
type bodies struct {
	perClient, max int64
	clients        *ratelimit.Usage
	all            atomic.Int64
}

// newBodies returns the limits of the configuration c. Each client can send at least one body of
// [Config].MaxBodyBytes.
func newBodies(c Config) *bodies {
	b := &bodies{clients: ratelimit.NewUsage()}
	b.allow(max(c.MaxBodyBytesPerClient, c.MaxBodyBytes))
	return b
}

// allow raises the limits, if necessary, so that each client can send at least one body of n bytes.
// It must not be called once the server has started.
func (b *bodies) allow(n int64) {
	b.perClient = max(b.perClient, n)
	b.max = math.MaxInt64
	if b.perClient <= math.MaxInt64/clientsWithBodies {
		b.max = clientsWithBodies * b.perClient
	}
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

// holdBody counts a large body of n bytes, or of the maximum length if n is negative, until
// releaseBody is called. It returns errTooManyBodies, and counts nothing, if the body would exceed
// a limit.
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
