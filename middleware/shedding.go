package middleware

import (
	"context"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/overload"
)

var errOverloaded = chassi.NewError(chassi.Unavailable, "overloaded", "The service has too much to do").WithRetryAfter(time.Second).
	WithCause(refusal("more calls under way than can be carried out"))

// Shedding refuses calls that limiter has no room for, before anything is spent on
// them: those of [chassi.Deferrable] endpoints first, those of [chassi.Important] ones last.
func Shedding(limiter *overload.Limiter) chassi.Middleware {
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		kind := kindOf(limiter, b)
		return func(ctx context.Context, call *chassi.Call) error {
			began, ok := kind.Enter()
			if !ok {
				return errOverloaded
			}
			outcome := overload.Failed
			defer func() { kind.Leave(began, outcome) }()
			err := next(ctx, call)
			switch {
			case err == nil:
				outcome = overload.Worked
			case chassi.ErrorOf(err).Code == chassi.DeadlineExceeded:
				outcome = overload.TimedOut
			}
			return err
		}
	}
}

// kindOf returns the calls of one endpoint.
func kindOf(limiter *overload.Limiter, b *chassi.Binding) *overload.Kind {
	return limiter.Kind(b.Endpoint.FullName(), priority(b.Endpoint.Priority()))
}

func priority(p int) overload.Priority {
	switch {
	case p > 0:
		return overload.High
	case p < 0:
		return overload.Low
	default:
		return overload.Normal
	}
}
