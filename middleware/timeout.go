package middleware

import (
	"context"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/timeout"
)

// Timeout returns middleware that limits the time of each call to its endpoint's timeout, or to
// fallback if the endpoint has none; an earlier deadline of the client applies. A call whose
// deadline has already passed is refused before its body is read. Fallback must be positive.
//
// For a stream the timeout applies until it opens; only a deadline of the client applies to all
// of it.
func Timeout(fallback time.Duration) chassi.Middleware {
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		d := fallback
		if own := b.Endpoint.Timeout(); own > 0 {
			d = own
		}
		if b.Endpoint.Streams() {
			return openingTimeout(d, next)
		}
		return func(ctx context.Context, call *chassi.Call) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			bounded := timeout.With(ctx, d)
			defer bounded.End()
			return next(bounded, call)
		}
	}
}

// openingTimeout returns the handler of a stream. It cancels a call that does not open within d.
func openingTimeout(d time.Duration, next chassi.Handler) chassi.Handler {
	return func(ctx context.Context, call *chassi.Call) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		timer := time.AfterFunc(d, func() { cancel(context.DeadlineExceeded) })
		defer timer.Stop()
		call.Stream.OnOpen(func() { timer.Stop() })
		return next(ctx, call)
	}
}
