package middleware

import (
	"context"
	"math"
	"strconv"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/ratelimit"
)

var errRateLimited = chassi.NewError(chassi.ResourceExhausted, "rate_limited", "Too many requests")

// RateLimitPeer bounds the calls of each client address, IPv6 by its /64. An
// endpoint with a rate of its own ([chassi.RateLimit]) is counted apart, by a
// limiter that newLimiter makes at registration; all others share one. Calls
// without a peer, in process, pass.
func RateLimitPeer(shared *ratelimit.Limiter, newLimiter func(ratelimit.Limit) *ratelimit.Limiter) chassi.Middleware {
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		limiter, name := shared, "peer"
		if own := b.Endpoint.Rate(); own.Calls > 0 {
			limiter, name = newLimiter(ratelimit.Per(own.Calls, own.Per)), b.Endpoint.Name()
		}
		return func(ctx context.Context, call *chassi.Call) error {
			if call.Peer.IsValid() {
				if err := take(call, limiter, ratelimit.AddrKey(call.Peer.Addr()), name); err != nil {
					return err
				}
			}
			return next(ctx, call)
		}
	}
}

// RateLimitPrincipal bounds the calls of each principal, wherever it calls from.
func RateLimitPrincipal(limiter *ratelimit.Limiter) chassi.Middleware {
	return func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			if p := call.Principal; p != nil {
				if err := take(call, limiter, ratelimit.StringKey(p.Scheme+":"+p.Subject), "principal"); err != nil {
					return err
				}
			}
			return next(ctx, call)
		}
	}
}

// take asks the limiter and tells the client how it stands, as
// draft-ietf-httpapi-ratelimit-headers has it.
func take(call *chassi.Call, limiter *ratelimit.Limiter, key ratelimit.Key, name string) error {
	d := limiter.Allow(key)
	call.Out.Set("RateLimit-Policy", policyText(name, limiter.Limit()))
	call.Out.Set("RateLimit", stateText(name, d))
	if d.Allowed {
		return nil
	}
	return errRateLimited.WithRetryAfter(d.RetryAfter)
}

func policyText(name string, l ratelimit.Limit) string {
	b := append(make([]byte, 0, 48), '"')
	b = append(append(b, name...), `";q=`...)
	b = append(strconv.AppendInt(b, int64(l.Burst), 10), `;w=`...)
	return string(strconv.AppendInt(b, seconds(float64(l.Burst)/l.Rate), 10))
}

func stateText(name string, d ratelimit.Decision) string {
	b := append(make([]byte, 0, 48), '"')
	b = append(append(b, name...), `";r=`...)
	b = append(strconv.AppendInt(b, int64(d.Remaining), 10), `;t=`...)
	return string(strconv.AppendInt(b, seconds(d.Reset.Seconds()), 10))
}

func seconds(s float64) int64 {
	return int64(math.Ceil(min(s, float64(24*time.Hour/time.Second))))
}
