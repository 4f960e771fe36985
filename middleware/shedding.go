package middleware

import (
	"context"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/overload"
)

var errOverloaded = chassi.NewError(chassi.Unavailable, "overloaded", "The service has too much to do").WithRetryAfter(time.Second)

// Shedding refuses calls that limiter has no room for, before anything is spent on
// them. As it fills, [chassi.Deferrable] endpoints are refused first, at half of what it
// has room for, [chassi.Important] ones last.
func Shedding(limiter *overload.Limiter) chassi.Middleware {
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		kind := limiter.Kind(share(b.Endpoint.Priority()))
		return func(ctx context.Context, call *chassi.Call) error {
			began, ok := kind.Enter()
			if !ok {
				return errOverloaded
			}
			worked := true // if it panics, who knows how far it came
			defer func() { kind.Leave(began, worked) }()
			err := next(ctx, call)
			worked = err == nil || chassi.ErrorOf(err).Code == chassi.DeadlineExceeded
			return err
		}
	}
}

func share(priority int) float64 {
	switch {
	case priority > 0:
		return 1
	case priority < 0:
		return 0.5
	default:
		return 0.75
	}
}
