package middleware

import (
	"context"

	"github.com/chassi-go/chassi"
)

// ErrorReporting returns middleware that calls report for every server error: [chassi.Internal],
// [chassi.Unknown] and [chassi.DataLoss], including recovered panics. Report must not block; its
// context carries the call.
func ErrorReporting(report func(ctx context.Context, err error)) chassi.Middleware {
	return func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			err := next(ctx, call)
			if err != nil && chassi.ErrorOf(err).Code.IsServerError() {
				report(ctx, err)
			}
			return err
		}
	}
}
