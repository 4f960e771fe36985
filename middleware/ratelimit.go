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

// Limiter counts calls by key: a [*ratelimit.Limiter], or one that several nodes share.
type Limiter interface {
	// Take counts a call of key and returns the decision. It must not block for long.
	Take(ctx context.Context, key ratelimit.Key) ratelimit.Decision
	// Limit returns the current limit.
	Limit() ratelimit.Limit
}

// RateLimitPeer returns middleware that limits the call rate of each client, which is a network,
// or a name over a broker ([chassi.Call.Source]). An endpoint with a rate of its own
// ([chassi.RateLimit]) has a separate limiter, which newLimiter returns for its full name at
// registration; all other endpoints use shared. Calls in process are not limited. Responses have
// the headers RateLimit and RateLimit-Policy once half of the quota is used.
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

// sourceKey returns the key of [chassi.Call.Source], without formatting addresses. ok is false
// for a call in process.
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

// RateLimitPrincipal returns middleware that limits the call rate of each principal, from any
// address. The headers are those of [RateLimitPeer].
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

// quota is a limiter with the response headers that describe it.
type quota struct {
	limiter Limiter
	name    string
	policy  atomic.Pointer[policy]
}

// policy is the header text of one limit, formatted when the limit is first used.
type policy struct {
	limit ratelimit.Limit
	text  string
}

func newQuota(name string, limiter Limiter) *quota {
	return &quota{limiter: limiter, name: name}
}

// take returns an error if the limiter refuses the call. It sets the headers of
// draft-ietf-httpapi-ratelimit-headers once half of the quota is used: the draft does not
// require them on each response, and to clients that are far from the limit they are of no use.
// The keys have the canonical form of http.Header, which saves conversions.
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

// seconds returns d in seconds, rounded up, so that the limit permits a call after that time.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
