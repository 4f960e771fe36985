package middleware

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/ratelimit"
)

var errRateLimited = chassi.NewError(chassi.ResourceExhausted, "rate_limited", "Too many requests")

// Limiter limits the rate of calls by key. It is a [*ratelimit.Limiter], or a limiter that
// several nodes share, such as that of package redislimit. It must be safe for concurrent use.
type Limiter interface {
	// Take decides whether a call of key is allowed, and counts it if so. It must not
	// block for long.
	Take(ctx context.Context, key ratelimit.Key) ratelimit.Decision
	// Limit returns the current limit.
	Limit() ratelimit.Limit
}

// RateLimitPeer returns middleware that limits the call rate of each client. A client is
// identified by its network, or by its name at a broker ([chassi.Call.Source]). For an
// endpoint that declares its own rate ([chassi.RateLimit]), newLimiter is called with the
// endpoint's full name at registration and returns a separate limiter; all other
// endpoints use shared. A call above the limit fails with [chassi.ResourceExhausted].
// Calls without a source, such as events and jobs, are not limited. Responses have the
// headers RateLimit and RateLimit-Policy once half of the quota is used.
func RateLimitPeer(shared Limiter, newLimiter func(endpoint string, limit ratelimit.Limit) Limiter) chassi.Middleware {
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		limiter, name := shared, "peer"
		if own := b.Endpoint.Rate(); own.Calls > 0 {
			limiter, name = newLimiter(b.Endpoint.FullName(), ratelimit.Per(own.Calls, own.Per)), b.Endpoint.Name()
		}
		quota := newQuota(name, limiter)
		return func(ctx context.Context, call *chassi.Call) error {
			if key, ok := sourceKey(call); ok {
				if err := quota.take(ctx, call, key); err != nil {
					return err
				}
			}
			return next(ctx, call)
		}
	}
}

// sourceKey returns the limiter's key for [chassi.Call.Source] without formatting an address. The
// result ok is false for a call without a source, such as an event or a job.
func sourceKey(call *chassi.Call) (key ratelimit.Key, ok bool) {
	switch {
	case call.Peer.IsValid():
		return ratelimit.AddrKey(call.Peer.Addr()), true
	case call.PeerName != "":
		return ratelimit.StringKey(call.PeerName), true
	default:
		return key, false
	}
}

// RateLimitPrincipal returns middleware that limits the call rate of each principal, whatever
// the client's address. A call above the limit fails with [chassi.ResourceExhausted]. Calls
// without a principal are not limited. Responses have the headers RateLimit and
// RateLimit-Policy once half of the quota is used.
func RateLimitPrincipal(limiter Limiter) chassi.Middleware {
	quota := newQuota("principal", limiter)
	return func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			if p := call.Principal; p != nil {
				if err := quota.take(ctx, call, ratelimit.StringKey(p.Scheme+":"+p.Subject)); err != nil {
					return err
				}
			}
			return next(ctx, call)
		}
	}
}

// quota is a limiter and the response headers that describe its state.
type quota struct {
	limiter Limiter
	name    string
	policy  atomic.Pointer[policy]
}

// policy is the value of the header RateLimit-Policy for one limit. It is formatted
// when the header is first sent and when the limit has changed.
type policy struct {
	limit ratelimit.Limit
	text  string
}

func newQuota(name string, limiter Limiter) *quota {
	return &quota{limiter: limiter, name: name}
}

// take counts a call of key, and returns an error if the limiter refuses it. Once half of the
// quota is used, take sets the headers of draft-ietf-httpapi-ratelimit-headers. The draft does
// not require them on each response, and they are of no use to a client that is far from its
// limit. The header names have the canonical form of http.Header, which saves conversions.
func (q *quota) take(ctx context.Context, call *chassi.Call, key ratelimit.Key) error {
	d := q.limiter.Take(ctx, key)
	if d.Limit > 0 && (!d.Allowed || 2*d.Remaining <= d.Limit) {
		call.Out.Set("Ratelimit-Policy", q.policyText())
		call.Out.Set("Ratelimit", q.stateText(d))
	}
	if d.Allowed {
		return nil
	}
	return errRateLimited.WithRetryAfter(d.RetryAfter)
}

func (q *quota) policyText() string {
	limit := q.limiter.Limit()
	if p := q.policy.Load(); p != nil && p.limit == limit {
		return p.text
	}
	p := &policy{limit, fmt.Sprintf(`"%s";q=%d;w=%d`, q.name, limit.Burst, seconds(limit.Window()))}
	q.policy.Store(p)
	return p.text
}

func (q *quota) stateText(d ratelimit.Decision) string {
	var buf [64]byte
	b := append(buf[:0], '"')
	b = append(append(b, q.name...), `";r=`...)
	b = append(strconv.AppendInt(b, int64(d.Remaining), 10), `;t=`...)
	return string(strconv.AppendInt(b, seconds(d.Reset), 10))
}

// seconds returns d in seconds, rounded up, so that a client that waits for that time
// is not too early.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
