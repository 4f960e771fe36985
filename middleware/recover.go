package middleware

import (
	"context"

	"github.com/chassi-go/chassi"
)

// Recover returns middleware that recovers a panic of the inner handlers and returns it as a
// [chassi.Internal] error, whose cause contains the stack.
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
