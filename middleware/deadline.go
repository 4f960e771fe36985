package middleware

import (
	"context"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/deadline"
)

// Deadline bounds each call by its endpoint's deadline, or by otherwise if the
// endpoint has none; an earlier deadline of the caller stays. A call that comes
// in too late is refused before its body is read. Otherwise must be positive.
func Deadline(otherwise time.Duration) chassi.Middleware {
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		d := otherwise
		if own := b.Endpoint.Deadline(); own > 0 {
			d = own
		}
		return func(ctx context.Context, call *chassi.Call) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			bounded := deadline.With(ctx, d)
			defer bounded.End()
			return next(bounded, call)
		}
	}
}
