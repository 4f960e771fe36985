package retry

import (
	"context"
	"time"
)

// Hedge calls f, and again beside it each time that after has passed without an
// answer, up to attempts calls at once. The first success wins; the others' contexts
// are cancelled, and what they return is dropped. A failure is returned only when all
// calls that were made have failed: it is the last one. Each further call takes a
// token from budget.
//
// It returns as soon as it has a result, or when ctx ends; a call of f may still be on
// its way out then, so that f must write to nothing that the caller goes on using. A
// panic of f brings the process down, as that of any goroutine does: contain it in f.
func Hedge[T any](ctx context.Context, after time.Duration, attempts int, budget *Budget, f func(context.Context) (T, error)) (T, error) {
	type outcome struct {
		result T
		err    error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	outcomes := make(chan outcome, attempts)
	call := func() {
		result, err := f(ctx)
		outcomes <- outcome{result, err}
	}
	go call()
	timer := time.NewTimer(after)
	defer timer.Stop()
	for made, failed := 1, 0; ; {
		select {
		case o := <-outcomes:
			if failed++; o.err == nil || failed == made {
				if o.err == nil {
					budget.Succeeded()
				}
				return o.result, o.err
			}
		case <-timer.C:
			if made < attempts && budget.Withdraw() {
				made++
				go call()
				timer.Reset(after)
			}
		case <-ctx.Done():
			var nothing T
			return nothing, ctx.Err()
		}
	}
}
