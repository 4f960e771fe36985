package transport

import "sync"

// Workers calls a function for each of many items, on a bounded number of
// goroutines. Waking one costs more than a short call, so that at most one is on
// its way at a time: a worker that takes an item wakes the next one if more items
// wait, before it does its own. The one that worked last is woken first, because
// its stack is still in the processor's cache. It is safe for concurrent use.
type Workers[T any] struct {
	do      func(T)
	most    int
	running sync.WaitGroup

	mu      sync.Mutex
	items   []T // a ring with room for what runs and what waits
	first   int
	waiting int
	busy    int
	started int
	waking  bool
	idle    []chan struct{}
	closed  bool
}

// NewWorkers makes workers that call do, at most so many at once, while further
// items wait.
func NewWorkers[T any](most, waiting int, do func(T)) *Workers[T] {
	return &Workers[T]{do: do, most: most, items: make([]T, most+waiting)}
}

// Submit hands an item over without waiting. It returns false when all workers are
// busy and no more items may wait, and after Close.
func (w *Workers[T]) Submit(item T) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.busy+w.waiting >= len(w.items) {
		return false
	}
	w.items[(w.first+w.waiting)%len(w.items)] = item
	w.waiting++
	w.wake()
	return true
}

// wake lets one more worker look for items, unless none wait or one is on its way.
func (w *Workers[T]) wake() {
	switch n := len(w.idle); {
	case w.waking || w.waiting == 0:
	case n > 0:
		w.waking = true
		w.idle[n-1] <- struct{}{} // it has room for one
		w.idle = w.idle[:n-1]
	case w.started < w.most:
		w.waking = true
		w.started++
		w.running.Go(w.work)
	}
}

func (w *Workers[T]) work() {
	woken := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.waking = false; ; {
		if item, ok := w.take(); ok {
			w.mu.Unlock()
			w.do(item)
			w.mu.Lock()
			w.busy--
			continue
		}
		if w.closed {
			return
		}
		w.idle = append(w.idle, woken)
		w.mu.Unlock()
		_, more := <-woken
		w.mu.Lock()
		if !more {
			return
		}
		w.waking = false
	}
}

// take takes the first item, and wakes another worker for the next.
func (w *Workers[T]) take() (item T, ok bool) {
	if w.waiting == 0 {
		return item, false
	}
	var nothing T
	item, w.items[w.first] = w.items[w.first], nothing
	w.first = (w.first + 1) % len(w.items)
	w.waiting--
	w.busy++
	w.wake()
	return item, true
}

// Close takes no more items and waits until all that were submitted are done.
func (w *Workers[T]) Close() {
	w.mu.Lock()
	w.closed = true
	for _, woken := range w.idle {
		close(woken)
	}
	w.idle = nil
	w.mu.Unlock()
	w.running.Wait()
}
