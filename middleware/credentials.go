package middleware

import (
	"context"

	"github.com/chassi-go/chassi"
)

// SendBearer returns client middleware that sends a bearer token with each outgoing call. It
// calls source for every call, so that source can renew the token. If source returns "", no token
// is sent. If source returns an error, the call fails with that error.
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

// ForwardAuthorization returns client middleware that copies the Authorization
// metadata of the call being served to each outgoing call. Use it only for services
// that may receive the client's token.
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
