package middleware

import (
	"context"

	"github.com/chassi-go/chassi"
)

// ForwardClientAddr returns client middleware that forwards the address of the original
// client: it sets the header X-Forwarded-For of each outgoing call to the address of the
// client whose call is being served. The called service applies its limits and lockouts to
// that address if it trusts this service: through trusted_proxies over HTTP and gRPC, or
// trusted_clients over NATS and AMQP. If no call is being served, or the address of its
// client is unknown, the header is not set.
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
