package main

import (
	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/middleware"
)

// limitSignUps limits how many accounts, and therefore idempotency keys, one client can create:
// rows that are never deleted, or not for a day.
func limitSignUps(limiter middleware.Limiter) chassi.Middleware {
	limit := middleware.RateLimitPeer(limiter, nil)
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		if b.Endpoint.Name() != "SignUp" {
			return next
		}
		return limit(b, next)
	}
}
