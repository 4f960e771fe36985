package middleware

import (
	"context"

	"github.com/chassi-go/chassi"
)

// ErrorReporting returns middleware that calls report for every call that fails with a server
// error: [chassi.Internal], [chassi.Unknown] or [chassi.DataLoss]. A recovered panic is a server
// error. The function report must not block; its context contains the call.
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
