package middleware

import (
	"context"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/timeout"
)

// Timeout returns middleware that limits the duration of each call to its endpoint's
// timeout, or to fallback, which must be positive, if the endpoint has none. An
// earlier deadline of the client takes precedence. A call whose context is already done
// is refused before its body is read.
//
// The timeout of a stream applies only until the stream opens. A deadline of the client applies
// until the stream ends.
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

// openingTimeout returns a handler that cancels the call of a stream if the stream does not open
// within d.
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
