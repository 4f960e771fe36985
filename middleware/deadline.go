package middleware

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi"
)

// Deadline bounds each call by its endpoint's deadline, or by otherwise if the
// endpoint has none; an earlier deadline of the caller stays. A call that comes
// in too late is refused before its body is read. Otherwise must be positive.
func Deadline(otherwise time.Duration) chassi.Middleware {
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		d := otherwise
		if own := b.Endpoint.Deadline(); own > 0 {
			d = own
		}
		return func(ctx context.Context, call *chassi.Call) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			bounded := &deadlineContext{Context: ctx, deadline: time.Now().Add(d)}
			defer bounded.end()
			return next(bounded, call)
		}
	}
}

// deadlineContext is context.WithDeadline that starts its timer when somebody
// waits for it: a call that is answered from memory never does, and the timer
// would cost it more than all other middleware but the log line.
type deadlineContext struct {
	context.Context //nolint:containedctx // it is a context

	deadline time.Time
	timed    atomic.Pointer[timedContext] // nil until somebody waits
	mu       sync.Mutex
	ended    bool
}

type timedContext struct {
	context.Context //nolint:containedctx // it is a context

	cancel context.CancelFunc
}

// Deadline returns the earlier one of the caller's and ours.
func (c *deadlineContext) Deadline() (time.Time, bool) {
	if earlier, ok := c.Context.Deadline(); ok && earlier.Before(c.deadline) {
		return earlier, true
	}
	return c.deadline, true
}

// Done starts the timer.
func (c *deadlineContext) Done() <-chan struct{} {
	if t := c.timed.Load(); t != nil {
		return t.Done()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.timed.Load(); t != nil {
		return t.Done()
	}
	ctx, cancel := context.WithDeadline(c.Context, c.deadline)
	if c.ended {
		cancel()
	}
	c.timed.Store(&timedContext{Context: ctx, cancel: cancel})
	return ctx.Done()
}

// Err looks at the clock while nobody waits.
func (c *deadlineContext) Err() error {
	if t := c.timed.Load(); t != nil {
		return t.Err()
	}
	if err := c.Context.Err(); err != nil {
		return err
	}
	if !time.Now().Before(c.deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// Value asks the timed context once there is one, so that the contexts made from
// it find it and are cancelled without a goroutine each.
func (c *deadlineContext) Value(key any) any {
	if t := c.timed.Load(); t != nil {
		return t.Value(key)
	}
	return c.Context.Value(key)
}

// end cancels what still waits when the call is over.
func (c *deadlineContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if t := c.timed.Load(); t != nil {
		t.cancel()
	}
}
