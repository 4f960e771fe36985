package workpool

import (
	"context"
	"errors"

	"github.com/chassi-go/chassi/calltrace"
)

// trace records that t waits from now on, and then that it runs, with what its function
// leaves in failed, which may be nil. The returned end is for when t will never run, see
// [refused]; it is nil when the call of t is not recorded.
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

// refused records why a task will never run. After it has begun to run, and for a nil err,
// it does nothing.
func refused(waited calltrace.End, err error) {
	if waited != nil && err != nil {
		waited("", failureOf(err))
	}
}

// failureOf names an error for traces. Its text is not recorded, because it may hold
// values.
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
