package middleware

import (
	"context"
	"sync"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/overload"
)

var errOverloaded = chassi.NewError(chassi.Unavailable, "overloaded", "The service is overloaded").WithRetryAfter(time.Second).
	WithCause(refusal("more calls under way than can be carried out"))

// LoadShedding returns middleware that refuses calls that limiter does not admit, before any
// other work: calls of [chassi.Low] priority first, calls of [chassi.High] priority last. A
// refused call has the code [chassi.Unavailable] and the reason "overloaded". A stream counts
// until it is open.
func LoadShedding(limiter *overload.Limiter) chassi.Middleware {
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		class := limiter.Class(b.Endpoint.FullName(), priority(b.Endpoint.Priority()))
		if b.Endpoint.Streams() {
			return shedOpenings(class, next)
		}
		return func(ctx context.Context, call *chassi.Call) error {
			permit, ok := class.Acquire()
			if !ok {
				return errOverloaded
			}
			outcome := overload.Failed
			defer func() { class.Release(permit, outcome) }()
			err := next(ctx, call)
			outcome = loadOutcome(err)
			return err
		}
	}
}

func loadOutcome(err error) overload.Outcome {
	switch {
	case err == nil:
		return overload.Succeeded
	case chassi.ErrorOf(err).Code == chassi.DeadlineExceeded:
		return overload.TimedOut
	default:
		return overload.Failed
	}
}

// shedOpenings returns the handler of a stream, whose calls count until they are open.
func shedOpenings(class *overload.Class, next chassi.Handler) chassi.Handler {
	return func(ctx context.Context, call *chassi.Call) error {
		permit, ok := class.Acquire()
		if !ok {
			return errOverloaded
		}
		outcome := overload.Failed
		release := sync.OnceFunc(func() { class.Release(permit, outcome) })
		defer release()
		call.Stream.OnOpen(func() {
			outcome = overload.Succeeded
			release()
		})
		err := next(ctx, call)
		if !call.Stream.Opened() {
			outcome = loadOutcome(err)
		}
		return err
	}
}

func priority(p chassi.Level) overload.Priority {
	switch {
	case p > 0:
		return overload.High
	case p < 0:
		return overload.Low
	default:
		return overload.Normal
	}
}
