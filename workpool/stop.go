package workpool

import "context"

// Stop rejects new tasks, including those of waiting calls of [Pool.Submit]. It returns nil when
// all accepted tasks have ended. Then the workers end.
//
// If ctx is done first, Stop drops the queued tasks: they never run, and their calls of [Do]
// return an error that wraps [ErrStopped]. The contexts of running tasks of Submit and
// TrySubmit are canceled. Stop does not wait for running tasks: it returns an error that wraps
// ctx.Err() and contains the numbers of running and queued tasks. Stop may be called more than
// once, also concurrently; each call returns at the latest when its own ctx is done.
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
	return p.errorf("stopped with %d unfinished tasks, %d running and %d queued: %w", left+p.busy, p.busy, left, ctx.Err())
}
