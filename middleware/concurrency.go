package middleware

import (
	"context"
	"fmt"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/overload"
	"github.com/chassi-go/chassi/ratelimit"
)

// LimitConcurrency bounds the calls that each client has under way at once, whatever
// becomes of them: of its network, or over a broker of its name ([chassi.Call.Source]).
// Maximum holds always; a call beyond it gets [chassi.ResourceExhausted]. No client has more
// than half of the calls that limiter, which may be nil, lets in at the moment, so that
// there is room for others ([overload.Limiter.Share]); a call beyond that gets the error
// of [Shedding]. Calls of [chassi.Important] endpoints are held to maximum alone. Calls in
// process pass.
//
// All bindings of the returned middleware count together: make one for each listener. It
// stands before Shedding, so that what it refuses takes no room there.
func LimitConcurrency(maximum int, limiter *overload.Limiter) chassi.Middleware {
	underWay := ratelimit.NewUsage()
	refused := chassi.NewError(chassi.ResourceExhausted, "too_many_concurrent_calls", fmt.Sprintf("More than %d calls of one client at once", maximum)).
		WithRetryAfter(time.Second)
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		kind := priority(b.Endpoint.Priority())
		fair := limiter != nil && kind < overload.High
		return func(ctx context.Context, call *chassi.Call) error {
			key, ok := sourceKey(call)
			if !ok {
				return next(ctx, call)
			}
			most, crowded := maximum, false
			if fair {
				if share := limiter.Share(kind); share < maximum {
					most, crowded = share, true
				}
			}
			switch {
			case underWay.Acquire(key, 1, int64(most)):
			case crowded:
				limiter.Refuse()
				return errOverloaded
			default:
				return refused
			}
			defer underWay.Release(key, 1)
			return next(ctx, call)
		}
	}
}
