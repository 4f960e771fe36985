package workpool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/chassi-go/chassi"
)

// asPanic returns the panic that err wraps, or nil.
func asPanic(err error) *chassi.PanicError {
	panicked, _ := errors.AsType[*chassi.PanicError](err)
	return panicked
}

// report passes the panic of a task to OnPanic. If OnPanic itself panics, report recovers
// that panic and logs it.
func (p *Pool) report(ctx context.Context, e *chassi.PanicError) {
	defer func() {
		if v := recover(); v != nil {
			logPanic(ctx, v, debug.Stack())
		}
	}()
	p.onPanic(ctx, e.Value, e.Stack)
}

func logPanic(ctx context.Context, recovered any, stack []byte) {
	slog.ErrorContext(ctx, "workpool: task panicked", "panic", fmt.Sprint(recovered), "stack", string(stack))
}
