package workpool

import "github.com/chassi-go/chassi"

// hasPlace reports whether one more task can be accepted. p.mu is held.
func (p *Pool) hasPlace() bool {
	return p.busy+p.queue.len < p.workers+p.size
}

// accept queues t. The caller wakes a worker. p.mu is held.
func (p *Pool) accept(t *task) {
	p.counts.Submitted++
	t.state = queued
	p.queue.push(t)
}

// admit accepts the tasks that wait for a place, as far as there are places. p.mu is held.
func (p *Pool) admit() {
	for p.waiting.len > 0 && p.hasPlace() {
		t := p.waiting.pop()
		t.accepted <- nil
		p.accept(t)
	}
}

// cancel takes t out of the queue. p.mu is held.
func (p *Pool) cancel(t *task) {
	p.queue.remove(t)
	t.state = finished
	p.counts.Canceled++
}

// wake wakes or starts a worker if a task is queued. Waking a worker costs more than a
// short task, so only one is woken at a time: it wakes the next one if there is more to
// do. The worker that became idle last is woken first, because its stack is most likely
// still in the processor's cache. p.mu is held.
func (p *Pool) wake() {
	var worker chan struct{}
	switch n := len(p.idle); {
	case p.waking || p.queue.len == 0:
		return
	case n > 0:
		worker = p.idle[n-1]
		p.idle = p.idle[:n-1]
	case p.started < p.workers:
		p.started++
		worker = make(chan struct{}, 1)
		go p.work(worker, nil)
	default:
		return
	}
	p.waking = true
	worker <- struct{}{}
}

// next returns the task that the worker runs next. If there is none it returns nil, and
// the worker is idle. p.mu is held.
func (p *Pool) next(worker chan struct{}) *task {
	t := p.queue.pop()
	if t == nil {
		p.idle = append(p.idle, worker)
		p.checkDrained()
		return nil
	}
	t.state = running
	p.busy++
	p.wake()
	return t
}

// checkDrained ends the idle workers once the pool is stopping and has nothing more to
// do. p.mu is held.
func (p *Pool) checkDrained() {
	if !p.stopping || p.busy > 0 || p.queue.len > 0 {
		return
	}
	for _, worker := range p.idle {
		close(worker)
	}
	p.idle = nil
	select {
	case <-p.drained:
	default:
		close(p.drained)
	}
}

// work runs tasks until the pool has stopped: t if it is not nil, then others whenever it
// receives from woken. A task that calls runtime.Goexit counts as one that panicked; a new
// goroutine replaces the one that ended.
func (p *Pool) work(woken chan struct{}, t *task) {
	defer func() {
		if t != nil {
			go p.work(woken, p.finish(t, chassi.Recovered("runtime.Goexit"), woken))
		}
	}()
	for {
		for t != nil {
			t = p.finish(t, p.run(t), woken)
		}
		if _, ok := <-woken; !ok {
			return
		}
		t = p.arrive(woken)
	}
}

// arrive returns the first task of a worker that was woken.
func (p *Pool) arrive(worker chan struct{}) *task {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waking = false
	return p.next(worker)
}

// run runs t, unless its caller has just given up. It returns the error of a panic or of a caller
// that gave up, or nil.
func (p *Pool) run(t *task) (failure error) {
	if t.done != nil && t.ctx.Err() != nil {
		return p.gaveUp(t.ctx, "while queued")
	}
	defer func() {
		if v := recover(); v != nil {
			failure = chassi.Recovered(v)
		}
	}()
	t.fn(t.ctx)
	return nil
}

// finish ends t and returns the worker's next task. Both happen under one lock, so that the next
// call of Do by the same caller finds the place free.
func (p *Pool) finish(t *task, failure error, worker chan struct{}) *task {
	panicked := asPanic(failure)
	if panicked != nil && p.unheard(t, failure) {
		p.report(t.ctx, panicked)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy--
	t.state, t.failure = finished, failure
	switch {
	case failure == nil:
		p.counts.Completed++
	case panicked != nil:
		p.counts.Panics++
	default:
		p.counts.Canceled++
	}
	t.close()
	p.admit()
	return p.next(worker)
}

// unheard reports whether no caller receives the panic of t. A caller that gives up later still
// receives it.
func (p *Pool) unheard(t *task, failure error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.state, t.failure = finished, failure
	return !t.heard
}
