package middleware

import (
	"context"

	"github.com/chassi-go/chassi"
)

// Recover turns a panic of anything inside it into a [chassi.Internal] error
// with the stack as its hidden cause.
func Recover() chassi.Middleware {
	return func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) (err error) {
			defer func() {
				if v := recover(); v != nil {
					err = chassi.Recovered(v)
				}
			}()
			return next(ctx, call)
		}
	}
}
