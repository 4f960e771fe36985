package workpool

import "github.com/chassi-go/chassi"

// hasPlace reports whether one more task can be accepted. The caller must hold p.mu.
func (p *Pool) hasPlace() bool {
	return p.busy+p.queue.len < p.workers+p.size
}

// accept queues t. The caller must hold p.mu and then wake a worker.
func (p *Pool) accept(t *task) {
	p.counts.Submitted++
	t.state = queued
	p.queue.push(t)
}

// admit accepts tasks that wait for a place, as long as there are free places. The
// caller must hold p.mu.
func (p *Pool) admit() {
	for p.waiting.len > 0 && p.hasPlace() {
		t := p.waiting.pop()
		t.accepted <- nil
		p.accept(t)
	}
}

// cancel removes t from the queue and counts it as canceled. The caller must hold p.mu.
func (p *Pool) cancel(t *task) {
	p.queue.remove(t)
	t.state = finished
	p.counts.Canceled++
}

// wake wakes or starts a worker if a task is queued. Waking a worker costs more than a short
// task, so only one worker is woken at a time; that worker wakes the next worker if more tasks
// are queued. The worker that became idle last is woken first, because its stack is most likely
// still in the processor's cache. The caller must hold p.mu.
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

// next returns the task that the worker runs next. If no task is queued, it marks the worker as
// idle and returns nil. The caller must hold p.mu.
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

// checkDrained ends the idle workers and closes p.drained if the pool is stopping and has
// no more tasks. The caller must hold p.mu.
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

// work is the loop of a worker: it runs tasks until the pool has stopped. The first
// task is t, unless t is nil; after that, the worker takes tasks whenever it receives
// from woken. A task that calls runtime.Goexit counts as panicked, and a new
// goroutine replaces the goroutine that it ended.
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

// arrive returns the first task of a worker that was woken, or nil if no task is queued.
func (p *Pool) arrive(worker chan struct{}) *task {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waking = false
	return p.next(worker)
}

// run runs t, unless the caller of t has just given up. It returns an error if t panics or
// its caller has given up, and otherwise nil.
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

// finish ends t and returns the worker's next task, or nil. It frees the place of t under the lock
// under which it wakes the caller of Do, so that the caller's next call of Do can have the place,
// unless another call has taken it.
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

// unheard marks t as finished, and reports whether no caller will receive its panic. A caller
// that gives up later still receives the panic.
func (p *Pool) unheard(t *task, failure error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.state, t.failure = finished, failure
	return !t.heard
}
