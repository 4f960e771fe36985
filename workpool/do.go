package workpool

import "context"

// Do runs fn with ctx on a worker of p and returns the result of fn.
//
// Do never waits for a place in the queue: it returns an error that wraps [ErrFull] if the queue
// is full, or [ErrStopped] if p is stopping or stopped. If fn panics or calls runtime.Goexit, Do
// returns the error of [chassi.Recovered], whose cause is a [chassi.PanicError].
//
// If ctx is done, Do returns at once with an error that wraps ctx.Err(). If fn is still queued,
// it never runs, and its place becomes free. If fn is running, it occupies its worker until
// it returns, and its result is dropped. After Do has returned, fn may therefore still write
// to variables that it shares with the caller.
func Do[T any](ctx context.Context, p *Pool, fn func(context.Context) (T, error)) (T, error) {
	var c struct {
		task
		value T
		err   error
	}
	c.ctx, c.heard, c.done = ctx, true, make(chan struct{})
	c.fn = func(ctx context.Context) { c.value, c.err = fn(ctx) }
	waited := p.trace(&c.task, &c.err)
	if err := p.do(&c.task); err != nil {
		refused(waited, err)
		var none T
		return none, err
	}
	return c.value, c.err
}

// do runs t and waits for it. It returns nil when the function of t has returned, and an error if
// the function has panicked or was not run to its end.
func (p *Pool) do(t *task) error {
	if t.ctx.Err() != nil {
		p.refuse()
		return p.gaveUp(t.ctx, "before queueing")
	}
	if err := p.try(t); err != nil {
		return err
	}
	select {
	case <-t.done:
		return t.failure
	case <-t.ctx.Done():
		return p.leave(t)
	}
}

// leave ends the wait for t, whose context is done, and removes t from the queue if t has not
// begun to run. It returns the outcome if t has finished, and otherwise an error that wraps
// t.ctx.Err().
func (p *Pool) leave(t *task) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch t.state {
	case finished:
		return t.failure
	case queued:
		p.cancel(t)
		p.admit()
		p.wake()
		p.checkDrained()
		return p.gaveUp(t.ctx, "while queued")
	default:
		t.heard = false
		return p.gaveUp(t.ctx, "while running")
	}
}

func (p *Pool) gaveUp(ctx context.Context, when string) error {
	return p.errorf("context done %s: %w", when, ctx.Err())
}
