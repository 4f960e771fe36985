package workpool

import (
	"context"
	"errors"

	"github.com/chassi-go/chassi/calltrace"
)

// trace records a span while t waits, and another span while t runs. When the function of
// t has returned, the second span records *failed, the error of the function; failed may
// be nil. The result is the function that ends the first span if t never runs (see
// [refused]), or nil if the call of t is not recorded.
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

// refused ends the span of a waiting task that never runs, with err as the reason. It does
// nothing if waited or err is nil, or if the task has begun to run.
func refused(waited calltrace.End, err error) {
	if waited != nil && err != nil {
		waited("", failureOf(err))
	}
}

// failureOf returns the kind of an error for traces, or "" for nil. The text of the error is
// not recorded, because it may contain values.
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
