package workpool

import "context"

// Do runs fn on a worker of p and returns what it returns. fn gets ctx.
//
// Do never waits for a place: it fails with [ErrFull] when the queue has none, and
// with [ErrStopped] once p is stopping. A panic of fn comes back as [*PanicError].
//
// When ctx ends, Do returns an error that wraps ctx.Err() at once. Queued, its
// place is free from then on and fn never runs. Running, fn keeps its worker
// until it returns, so no more than Options.Workers ever run; its result is
// dropped. What fn writes to, other than its result, may therefore still be
// written to after Do returned.
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

// do returns nil when the function of t has returned.
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

// leave ends the wait for t, whose context has ended, by what has become of it.
func (p *Pool) leave(t *task) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch t.state {
	case finished:
		return t.failure
	case queued:
		p.cancel(t)
		p.admit()
		p.checkDrained()
		return p.gaveUp(t.ctx, "while queued")
	default:
		t.heard = false
		return p.gaveUp(t.ctx, "while running")
	}
}

func (p *Pool) gaveUp(ctx context.Context, when string) error {
	return p.errorf("caller gave up %s: %w", when, ctx.Err())
}
