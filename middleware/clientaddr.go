package middleware

import (
	"context"

	"github.com/chassi-go/chassi"
)

// ForwardClientAddr states, on an outgoing call, the address of the client whose call is
// being served, as the header X-Forwarded-For. The called service counts its limits and
// lockouts by that address if it trusts this one: by trusted_proxies over HTTP and gRPC, by
// trusted_clients over NATS and AMQP. Without a call that is being served, or without an
// address, it sends nothing.
func ForwardClientAddr() chassi.Middleware {
	return func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			if served := chassi.CallFrom(ctx); served != nil && served.Peer.IsValid() {
				call.In.Set("X-Forwarded-For", served.Peer.Addr().String())
			}
			return next(ctx, call)
		}
	}
}
