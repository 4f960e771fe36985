package main

import (
	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/middleware"
)

// limitSignUps bounds the accounts, and with them the idempotency keys, that one client can
// make: rows that nothing deletes again, or nothing for a day.
func limitSignUps(limiter middleware.Limiter) chassi.Middleware {
	limit := middleware.RateLimitPeer(limiter, nil)
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		if b.Endpoint.Name() != "SignUp" {
			return next
		}
		return limit(b, next)
	}
}
