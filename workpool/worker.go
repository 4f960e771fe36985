package workpool

// hasPlace, accept, admit, cancel, next and checkDrained are called under the lock.

func (p *Pool) hasPlace() bool {
	return p.busy < p.workers || p.queue.len < p.size
}

// accept gives t to a worker, a new one unless there are enough.
func (p *Pool) accept(t *task) {
	p.counts.Submitted++
	if p.busy < p.workers {
		p.busy++
		t.state = running
		go p.work(t)
		return
	}
	t.state = queued
	p.queue.push(t)
}

// admit lets in those who wait for a place, as far as there are any.
func (p *Pool) admit() {
	for p.waiting.len > 0 && p.hasPlace() {
		t := p.waiting.pop()
		t.accepted <- nil
		p.accept(t)
	}
}

// cancel takes t out of the queue.
func (p *Pool) cancel(t *task) {
	p.queue.remove(t)
	t.state = finished
	p.counts.Canceled++
}

// next makes the worker that has finished take the next task; nil ends it.
func (p *Pool) next() *task {
	p.busy--
	t := p.queue.pop()
	if t != nil {
		p.busy++
		t.state = running
	}
	p.admit()
	p.checkDrained()
	return t
}

func (p *Pool) checkDrained() {
	if !p.stopping || p.busy > 0 || p.queue.len > 0 {
		return
	}
	select {
	case <-p.drained:
	default:
		close(p.drained)
	}
}

// work is the life of a worker. A task that ends its goroutine by
// runtime.Goexit counts as a panic and leaves the rest to a new worker.
func (p *Pool) work(t *task) {
	defer func() {
		if t == nil {
			return
		}
		if t = p.settle(t, newPanicError("runtime.Goexit")); t != nil {
			go p.work(t)
		}
	}()
	for t != nil {
		t = p.settle(t, p.run(t))
	}
}

// run runs t, unless its caller gave up a moment ago. It returns why t did not
// return by itself.
func (p *Pool) run(t *task) (failure error) {
	if t.done != nil && t.ctx.Err() != nil {
		return p.gaveUp(t.ctx, "while queued")
	}
	defer func() {
		if v := recover(); v != nil {
			failure = newPanicError(v)
		}
	}()
	t.fn(t.ctx)
	return nil
}

// settle ends t and returns the worker's next task. Both happen under one lock, so
// that a caller of Do who comes back at once finds the place it has just left.
func (p *Pool) settle(t *task, failure error) *task {
	if panicked, ok := failure.(*PanicError); ok && p.unheard(t, panicked) {
		p.report(t.ctx, panicked)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t.state, t.failure = finished, failure
	switch failure.(type) {
	case nil:
		p.counts.Completed++
	case *PanicError:
		p.counts.Panics++
	default:
		p.counts.Canceled++
	}
	t.close()
	return p.next()
}

// unheard reports whether no caller will hear of the panic of t. A caller that
// gives up from now on still does.
func (p *Pool) unheard(t *task, panicked *PanicError) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.state, t.failure = finished, panicked
	return !t.heard
}
