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
	// Take counts a call of key and says whether it may go on. It must not take long.
	Take(ctx context.Context, key ratelimit.Key) ratelimit.Decision
	// Limit returns the limit in force.
	Limit() ratelimit.Limit
}

// RateLimitPeer bounds the calls of each client: of its network, or over a broker of its
// name ([chassi.Call.Source]). An endpoint with a rate of its own ([chassi.RateLimit]) is counted apart, by a
// limiter that newLimiter makes for its full name at registration; all others share one.
// Calls in process pass.
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

// sourceKey is the key of [chassi.Call.Source], for addresses without its text. ok is
// false in process.
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

// RateLimitPrincipal bounds the calls of each principal, wherever it calls from.
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

// quota is a limiter and how its clients are told of it.
type quota struct {
	limiter Limiter
	name    string
	policy  atomic.Pointer[policy]
}

// policy is the text of one limit, written when the limit is first met.
type policy struct {
	limit ratelimit.Limit
	text  string
}

func newQuota(name string, limiter Limiter) *quota {
	return &quota{limiter: limiter, name: name}
}

// take asks the limiter and tells the client how it stands, as
// draft-ietf-httpapi-ratelimit-headers has it; nothing where there is no limit.
// The keys are spelled as http.Header keeps them, which saves spelling them anew
// with every call.
func (q *quota) take(ctx context.Context, call *chassi.Call, key ratelimit.Key) error {
	d := q.limiter.Take(ctx, key)
	if d.Limit > 0 {
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
	var room [64]byte
	b := append(room[:0], '"')
	b = append(append(b, q.name...), `";r=`...)
	b = append(strconv.AppendInt(b, int64(d.Remaining), 10), `;t=`...)
	return string(strconv.AppendInt(b, seconds(d.Reset), 10))
}

// seconds rounds up, so that who waits that long has waited long enough.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
