package middleware

import (
	"context"

	"github.com/chassi-go/chassi"
)

// Exceptions calls report for every fault of ours: [chassi.Internal],
// [chassi.Unknown] and [chassi.DataLoss], contained panics included. Report must
// not block; ctx knows the call.
func Exceptions(report func(ctx context.Context, err error)) chassi.Middleware {
	return func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			err := next(ctx, call)
			if err != nil && chassi.ErrorOf(err).Code.Fault() {
				report(ctx, err)
			}
			return err
		}
	}
}
