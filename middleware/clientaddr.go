package middleware

import (
	"context"

	"github.com/chassi-go/chassi"
)

// ForwardClientAddr returns middleware that sends the address of the client whose call is being
// served with each outgoing call, in the header X-Forwarded-For. The called service applies its
// limits and lockouts to that address if it trusts this service: by trusted_proxies over HTTP
// and gRPC, by trusted_clients over NATS and AMQP. If no call is being served, or its address is
// unknown, nothing is sent.
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
