package middleware

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/overload"
	"github.com/chassi-go/chassi/ratelimit"
)

// LimitConcurrency returns middleware that limits the number of calls in flight of each client to
// maximum. A client is identified by its network, or by its name at a broker
// ([chassi.Call.Source]). A call above the limit fails with [chassi.ResourceExhausted]. If limiter
// is not nil, a client may also use at most half of the calls that limiter currently admits at the
// priority of the call ([overload.Limiter.Share]); a call above that share fails with the code and
// the reason of [LoadShedding]. For endpoints of [chassi.High] priority, only maximum applies.
// Calls without a source, such as events and jobs, are not limited. A stream counts only until it is
// open.
//
// The calls of all bindings that use the returned middleware are counted together: create one
// middleware for each listener. Place it outside LoadShedding, so that the calls it refuses do not
// count there.
func LimitConcurrency(maximum int, limiter *overload.Limiter) chassi.Middleware {
	underWay := ratelimit.NewUsage()
	refused := chassi.NewError(chassi.ResourceExhausted, "too_many_concurrent_calls", fmt.Sprintf("More than %d calls of one client at once", maximum)).
		WithRetryAfter(time.Second)
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		level := priority(b.Endpoint.Priority())
		fair := limiter != nil && level < overload.High
		return func(ctx context.Context, call *chassi.Call) error {
			key, ok := sourceKey(call)
			if !ok {
				return next(ctx, call)
			}
			limit, full := maximum, false
			if fair {
				if share := limiter.Share(level); share < maximum {
					limit, full = share, true
				}
			}
			switch {
			case underWay.Acquire(key, 1, int64(limit)):
			case full:
				limiter.Refuse()
				return errShare
			default:
				return refused
			}
			if call.Stream != nil {
				release := sync.OnceFunc(func() { underWay.Release(key, 1) })
				defer release()
				call.Stream.OnOpen(release)
				return next(ctx, call)
			}
			defer underWay.Release(key, 1)
			return next(ctx, call)
		}
	}
}
