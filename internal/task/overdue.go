package task

import (
	"context"
	"time"

	"github.com/chassi-go/chassi"
)

// overdueAfter is how long a function may continue after its context is done before the function is
// logged as overdue.
const overdueAfter = 5 * time.Second

// endsKey is the context key of the function to which the deadline of a task is passed.
type endsKey struct{}

// noteDeadline is the innermost middleware of calls that run tasks. It reports to the engine the
// deadline that the other middleware has set.
func noteDeadline(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
	return func(ctx context.Context, call *chassi.Call) error {
		if ends, ok := ctx.Value(endsKey{}).(func(time.Time)); ok {
			if deadline, ok := ctx.Deadline(); ok {
				ends(deadline)
			}
		}
		return next(ctx, call)
	}
}

// watch returns a copy of ctx with which noteDeadline reports the deadline of r to the engine.
func (e *Engine) watch(ctx context.Context, r *run) context.Context {
	return context.WithValue(ctx, endsKey{}, func(deadline time.Time) {
		e.mu.Lock()
		defer e.mu.Unlock()
		if ctx.Err() == nil { // or it was stopped before
			r.ends = deadline
		}
	})
}

// logOverdue logs the functions that have not returned although their contexts have been done for
// more than overdueAfter. It logs each function only once.
func (e *Engine) logOverdue() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for r := range e.active {
		if r.overdue || r.ends.IsZero() {
			continue
		}
		if since := time.Since(r.ends); since > e.overdueAfter {
			r.overdue = true
			e.o.Logger.Warn("tasks: the function has not returned, although its context is done", "queue", r.Queue, "id", r.ID, "uid", r.UID,
				"running_for", time.Since(r.Began).String(), "overdue_for", since.String())
		}
	}
}

// logReturn logs that the function of r, which was logged as overdue, has returned.
func (e *Engine) logReturn(r *run) {
	e.o.Logger.Info("tasks: the function that did not return has returned", "queue", r.Queue, "id", r.ID, "uid", r.UID, "ran_for", r.Took.String())
}
