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

// LimitConcurrency returns middleware that limits the calls in flight of each client, which is a
// network, or a name over a broker ([chassi.Call.Source]). Beyond maximum a call fails with
// [chassi.ResourceExhausted]. A client may also use at most half of the calls that limiter
// currently admits ([overload.Limiter.Share]); beyond that a call fails with the error of
// [LoadShedding]. Limiter may be nil. Only maximum applies to endpoints of [chassi.High]
// priority. Calls in process are not limited. A stream counts until it is open.
//
// All bindings of the returned middleware count together: create one for each listener. It
// should be outside of LoadShedding, so that refused calls do not count there.
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
				return errOverloaded
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
