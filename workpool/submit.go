package workpool

import "context"

// TrySubmit accepts fn to be run, or fails at once: with [ErrFull] when the queue
// has no place, with [ErrStopped] once p is stopping. For the context of fn see
// Submit.
func (p *Pool) TrySubmit(ctx context.Context, fn func(context.Context)) error {
	t := p.detached(ctx, fn)
	waited := p.trace(t, nil)
	err := p.try(t)
	refused(waited, err)
	return err
}

// Submit accepts fn to be run. It waits for a place until ctx ends, in the order
// of arrival and before any later TrySubmit or Do. It fails with an error that
// wraps ctx.Err(), or with [ErrStopped] once p is stopping; fn then never runs.
//
// The context of fn carries the values of ctx but not its end: accepted work
// outlives its request. It ends when [Pool.Stop] runs out of time.
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

// try accepts t if there is a place now.
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
	return nil
}

// enter accepts t, or else lets it wait and reports false: the answer will come
// through t.accepted.
func (p *Pool) enter(t *task) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stopping && p.hasPlace() {
		p.accept(t)
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

// withdraw ends the wait of t for a place, unless the answer came first.
func (p *Pool) withdraw(ctx context.Context, t *task) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.in != &p.waiting {
		return <-t.accepted
	}
	p.waiting.remove(t)
	p.counts.Refused++
	return p.gaveUp(ctx, "waiting for a place")
}

func (p *Pool) refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts.Refused++
}

// detached makes the task of a caller who goes on.
func (p *Pool) detached(ctx context.Context, fn func(context.Context)) *task {
	return &task{ctx: detachedContext{p.abandoned, ctx}, fn: fn}
}

// detachedContext has the end of one context and the values of another.
type detachedContext struct {
	context.Context
	values context.Context
}

func (c detachedContext) Value(key any) any {
	return c.values.Value(key)
}
