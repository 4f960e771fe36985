package middleware

import (
	"context"

	"github.com/chassi-go/chassi"
)

// SendBearer returns middleware that sends a token with each outgoing call. Source is called for
// every call, so that it can renew the token; no token is sent if it returns "". If source
// fails, the call fails with its error.
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

// ForwardAuthorization returns middleware that sends the Authorization metadata of the call that
// is being served with each outgoing call. Use it only for services that may receive the
// client's token.
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
