package retry

import (
	"context"
	"time"
)

// Hedge calls f at least once. Until a call has succeeded, it calls f again, concurrently, at
// intervals given by the parameter after, up to attempts calls in total. It returns the result of
// the first success; the contexts of the other calls are canceled and their results dropped. If all
// calls made so far have failed, it returns the last error. Each further call takes a token from
// budget; if no token is left, Hedge makes no further call.
//
// Hedge returns when it has a result or ctx is done; in the latter case it returns ctx.Err().
// A call of f may still be running then, so f must not write to data that the caller continues to
// use. A panic of f ends the process, as in any goroutine; f must recover it if necessary.
func Hedge[T any](ctx context.Context, after time.Duration, attempts int, budget *Budget, f func(context.Context) (T, error)) (T, error) {
	type outcome struct {
		result T
		err    error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	outcomes := make(chan outcome, max(attempts, 1))
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
