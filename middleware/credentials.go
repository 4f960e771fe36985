package middleware

import (
	"context"

	"github.com/chassi-go/chassi"
)

// SendBearer puts a token beside each outgoing call. Source is asked for every
// call, so that it can renew the token; "" sends none.
func SendBearer(source func(context.Context) (string, error)) chassi.Middleware {
	return func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			token, err := source(ctx)
			if err != nil {
				return err
			}
			if token != "" {
				call.In.Set("Authorization", "Bearer "+token)
			}
			return next(ctx, call)
		}
	}
}

// ForwardAuthorization lets an outgoing call act for whoever made the call that is
// being served: it passes the Authorization on. Use it only towards services that
// may have the caller's token.
func ForwardAuthorization() chassi.Middleware {
	return func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			if served := chassi.CallFrom(ctx); served != nil {
				if value := served.In.Get("Authorization"); value != "" {
					call.In.Set("Authorization", value)
				}
			}
			return next(ctx, call)
		}
	}
}
