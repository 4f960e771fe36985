package workpool

import (
	"context"
	"errors"

	"github.com/chassi-go/chassi/calltrace"
)

// trace records a span while t waits and another one while t runs. The second span records *failed,
// the error of the function of t, when that function has returned; failed may be nil. trace returns
// the function that ends the first span if t never runs, see [refused], or nil if the call of t is
// not recorded.
func (p *Pool) trace(t *task, failed *error) calltrace.End {
	start := calltrace.From(t.ctx)
	if start == nil {
		return nil
	}
	_, waited := start(t.ctx, calltrace.Operation{Name: "queue", Target: p.name})
	fn := t.fn
	t.fn = func(ctx context.Context) {
		waited("", "")
		ctx, ran := start(ctx, calltrace.Operation{Name: "run", Target: p.name})
		failure := "panic"
		defer func() { ran("", failure) }()
		fn(ctx)
		failure = ""
		if failed != nil {
			failure = failureOf(*failed)
		}
	}
	return waited
}

// refused records why a task will never run. It is a no-op if the task has begun to run,
// and for a nil err.
func refused(waited calltrace.End, err error) {
	if waited != nil && err != nil {
		waited("", failureOf(err))
	}
}

// failureOf returns the kind of an error for traces. The text of the error is not recorded, because
// it may contain values.
func failureOf(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, ErrFull):
		return "full"
	case errors.Is(err, ErrStopped):
		return "stopped"
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	default:
		return "_OTHER" // as OpenTelemetry has it
	}
}
