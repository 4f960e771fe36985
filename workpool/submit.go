package workpool

import "context"

// TrySubmit queues fn, to be run once, without waiting. It returns an error that wraps [ErrFull]
// if the queue is full, or [ErrStopped] if p is stopping or stopped.
//
// The context of fn has the values of ctx but not its deadline and cancellation. The context of fn
// is canceled if the context of [Pool.Stop] is done before all tasks have ended.
func (p *Pool) TrySubmit(ctx context.Context, fn func(context.Context)) error {
	t := p.detached(ctx, fn)
	waited := p.trace(t, nil)
	err := p.try(t)
	refused(waited, err)
	return err
}

// Submit queues fn, to be run once. If the queue is full, Submit waits for a place; waiting
// calls get places in the order of their arrival, before any later call of TrySubmit or Do.
// Submit returns an error that wraps ctx.Err() if ctx is done before fn is queued, or [ErrStopped]
// if p is stopping or stopped; fn then never runs.
//
// The context of fn has the values of ctx but not its deadline and cancellation. The context of fn
// is canceled if the context of [Pool.Stop] is done before all tasks have ended.
func (p *Pool) Submit(ctx context.Context, fn func(context.Context)) error {
	if ctx.Err() != nil {
		p.refuse()
		return p.gaveUp(ctx, "before queueing")
	}
	t := p.detached(ctx, fn)
	waited := p.trace(t, nil)
	if p.enter(t) {
		return nil
	}
	var err error
	select {
	case err = <-t.accepted:
	case <-ctx.Done():
		err = p.withdraw(ctx, t)
	}
	refused(waited, err)
	return err
}

// try accepts t if there is a free place, and otherwise returns an error that wraps
// [ErrFull] or [ErrStopped].
func (p *Pool) try(t *task) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.stopping:
		p.counts.Refused++
		return p.stopped
	case !p.hasPlace():
		p.counts.Refused++
		return p.full
	}
	p.accept(t)
	p.wake()
	return nil
}

// enter accepts t and returns true if there is a free place. Otherwise it returns false,
// and the outcome is sent to t.accepted.
func (p *Pool) enter(t *task) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stopping && p.hasPlace() {
		p.accept(t)
		p.wake()
		return true
	}
	t.accepted = make(chan error, 1)
	if p.stopping {
		p.counts.Refused++
		t.accepted <- p.stopped
	} else {
		p.waiting.push(t)
	}
	return false
}

// withdraw ends the wait of t for a place and returns an error that wraps ctx.Err(). If the
// outcome was already sent, withdraw returns the outcome.
func (p *Pool) withdraw(ctx context.Context, t *task) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.in != &p.waiting {
		return <-t.accepted
	}
	p.waiting.remove(t)
	p.counts.Refused++
	return p.gaveUp(ctx, "while waiting for a place")
}

func (p *Pool) refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.Refused++
}

// detached returns a task for fn that nobody waits for. Its context has the values
// of ctx, and is canceled when Stop gives up.
func (p *Pool) detached(ctx context.Context, fn func(context.Context)) *task {
	var t struct { // one allocation
		task
		detachedContext
	}
	t.detachedContext = detachedContext{p.abandoned, ctx}
	t.ctx, t.fn = &t.detachedContext, fn
	return &t.task
}

// detachedContext is a context with the deadline and cancellation of its Context and
// the values of another context.
type detachedContext struct {
	context.Context
	values context.Context
}

func (c *detachedContext) Value(key any) any {
	return c.values.Value(key)
}
