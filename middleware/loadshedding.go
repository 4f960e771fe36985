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

// errShare is the error of [LimitConcurrency] for a call above the client's share.
var errShare = errOverloaded.WithCause(refusal("the client has more calls under way than its share"))

// LoadShedding returns middleware that refuses the calls that limiter does not admit, before any
// further work is done for them. As the load increases, calls of [chassi.Low] priority are
// refused first, and calls of [chassi.High] priority last. A refused call fails with the code
// [chassi.Unavailable] and the reason "overloaded". A stream counts only until it is open.
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

// shedOpenings returns a handler for streams. The handler refuses the calls that class does not
// admit. A call counts as in flight until its stream opens or next returns.
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
