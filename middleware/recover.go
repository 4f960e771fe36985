package middleware

import (
	"context"

	"github.com/chassi-go/chassi"
)

// Recover returns middleware that converts a panic of the inner handlers into an
// [chassi.Internal] error with the stack as part of its cause.
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
