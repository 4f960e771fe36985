package main

import (
	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/middleware"
)

// limitSignUps returns middleware that limits the rate of sign-ups of each client, because each
// sign-up adds rows: those of accounts are never deleted automatically, and those of idempotency
// keys only after a day by default.
func limitSignUps(limiter middleware.Limiter) chassi.Middleware {
	limit := middleware.RateLimitPeer(limiter, nil)
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		if b.Endpoint.Name() != "SignUp" {
			return next
		}
		return limit(b, next)
	}
}
