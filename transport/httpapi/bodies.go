package httpapi

import (
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/ratelimit"
)

// smallBody is how long a body may be that is not counted: calls under way are bounded for
// each client, and so are these.
const smallBody = bufferBytes

// clientsWithBodies is how many clients may have all the bodies that one may have.
const clientsWithBodies = 8

var errTooManyBodies = chassi.NewError(chassi.ResourceExhausted, "too_many_large_bodies", "Too many large requests at once").WithRetryAfter(time.Second)

// bodies bounds the memory of large request bodies, from when they are read to the end of
// their calls: for each client, and for all.
type bodies struct {
	perClient, max int64
	clients        *ratelimit.Usage
	all            atomic.Int64
}

// newBodies leaves room for one body of the largest size in any case.
func newBodies(c Config) *bodies {
	perClient := max(c.MaxBodyBytesPerClient, c.MaxBodyBytes)
	return &bodies{perClient: perClient, max: clientsWithBodies * perClient, clients: ratelimit.NewUsage()}
}

func (b *bodies) acquire(client ratelimit.Key, n int64) bool {
	if b.all.Add(n) <= b.max && b.clients.Acquire(client, n, b.perClient) {
		return true
	}
	b.all.Add(-n)
	return false
}

func (b *bodies) release(client ratelimit.Key, n int64) {
	b.clients.Release(client, n)
	b.all.Add(-n)
}

// holdBody counts the body once it turns out to be large: by its stated length, or else by
// the longest that it may be.
func (x *exchange) holdBody() error {
	n := x.r.ContentLength
	if n < 0 {
		n = x.server.config.MaxBodyBytes
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
