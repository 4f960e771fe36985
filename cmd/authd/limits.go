package main

import (
	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/middleware"
)

// limitSignUps returns middleware that limits how many sign-ups each client can make: the rows of
// accounts are never deleted automatically, and those of idempotency keys by default after a day.
func limitSignUps(limiter middleware.Limiter) chassi.Middleware {
	limit := middleware.RateLimitPeer(limiter, nil)
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		if b.Endpoint.Name() != "SignUp" {
			return next
		}
		return limit(b, next)
	}
}
