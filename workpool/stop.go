package workpool

import "context"

// Stop refuses new work from now on, and those who wait for a place, and returns
// when all accepted work is done and no worker is left.
//
// When ctx ends first, Stop gives up what is queued: it never runs, and callers of
// [Do] get [ErrStopped]. The contexts of running tasks of Submit end, but Stop does
// not wait for them: it returns an error that wraps ctx.Err() and says how many
// tasks were left. Stop may be called again, and by several at once: each call
// waits on its own ctx.
func (p *Pool) Stop(ctx context.Context) error {
	p.refuseAll()
	select {
	case <-p.drained:
		return nil
	default:
	}
	select {
	case <-p.drained:
		return nil
	case <-ctx.Done():
		return p.giveUp(ctx)
	}
}

func (p *Pool) refuseAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopping = true
	for t := p.waiting.pop(); t != nil; t = p.waiting.pop() {
		p.counts.Refused++
		t.accepted <- p.stopped
	}
	p.checkDrained()
}

func (p *Pool) giveUp(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := p.queue.len
	for p.queue.len > 0 {
		t := p.queue.first
		p.cancel(t)
		t.failure = p.stopped
		t.close()
	}
	p.checkDrained()
	if left+p.busy == 0 {
		return nil
	}
	p.abandon()
	return p.errorf("stop gave up %d tasks, %d running and %d queued: %w", left+p.busy, p.busy, left, ctx.Err())
}
