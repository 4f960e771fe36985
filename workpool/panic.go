package workpool

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
)

// PanicError is what [Do] returns when its function panicked. It does not unwrap:
// a panic with an error is not that error, so no caller takes it for one it knows.
// A function that ends by runtime.Goexit counts as one that panicked.
type PanicError struct {
	Value any    // what the function panicked with
	Stack []byte // of the worker at that moment, as by debug.Stack
}

func newPanicError(value any) *PanicError {
	return &PanicError{Value: value, Stack: debug.Stack()}
}

// Error names the value, not the stack.
func (e *PanicError) Error() string {
	return fmt.Sprintf("workpool: task panicked: %v", e.Value)
}

// report tells OnPanic, and survives its panic too.
func (p *Pool) report(ctx context.Context, e *PanicError) {
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
