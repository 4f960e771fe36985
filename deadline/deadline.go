// Package deadline bounds work in time for less than the context package does.
package deadline

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// With is [context.WithTimeout] that starts its timer when somebody waits for it:
// work that is done from memory never does, and the timer costs more than a
// microsecond-long call. An earlier deadline of parent stays. The caller must call End. It
// makes one allocation.
func With(parent context.Context, d time.Duration) *Context {
	return &Context{Context: parent, deadline: time.Now().Add(d)}
}

// Context is what [With] returns.
type Context struct {
	context.Context //nolint:containedctx // it is a context

	deadline time.Time
	timed    atomic.Pointer[timedContext] // nil until somebody waits
	mu       sync.Mutex
	ended    atomic.Bool
}

type timedContext struct {
	context.Context //nolint:containedctx // it is a context

	cancel context.CancelFunc
}

// Deadline returns the earlier one of the caller's and ours.
func (c *Context) Deadline() (time.Time, bool) {
	if earlier, ok := c.Context.Deadline(); ok && earlier.Before(c.deadline) {
		return earlier, true
	}
	return c.deadline, true
}

// Done starts the timer.
func (c *Context) Done() <-chan struct{} {
	if t := c.timed.Load(); t != nil {
		return t.Done()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.timed.Load(); t != nil {
		return t.Done()
	}
	ctx, cancel := context.WithDeadline(c.Context, c.deadline)
	c.timed.Store(&timedContext{Context: ctx, cancel: cancel})
	if c.ended.Load() { // looked at after the store, as End stores first and then looks
		cancel()
	}
	return ctx.Done()
}

// Err looks at the clock while nobody waits.
func (c *Context) Err() error {
	if t := c.timed.Load(); t != nil {
		return t.Err()
	}
	if err := c.Context.Err(); err != nil {
		return err
	}
	if c.ended.Load() {
		return context.Canceled
	}
	if time.Until(c.deadline) <= 0 {
		return context.DeadlineExceeded
	}
	return nil
}

// Value asks the timed context once there is one, so that the contexts made from
// it find it and are cancelled without a goroutine each.
func (c *Context) Value(key any) any {
	if t := c.timed.Load(); t != nil {
		return t.Value(key)
	}
	return c.Context.Value(key)
}

// End cancels what still waits: to be called when the work is over.
func (c *Context) End() {
	c.ended.Store(true)
	if t := c.timed.Load(); t != nil {
		t.cancel()
	}
}
