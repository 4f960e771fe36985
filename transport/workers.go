package transport

import "sync"

// Workers calls a function for each of many items, on a bounded number of
// goroutines. The one that has worked last works next: its stack is grown and
// still in the processor's cache, which the first of a hundred sleepers' is not.
// It is safe for concurrent use.
type Workers[T any] struct {
	do      func(T)
	queue   chan T
	most    int
	running sync.WaitGroup

	mu      sync.Mutex
	started int
	idle    []chan T
	closed  bool
}

// NewWorkers makes workers that call do, at most so many at once, while further
// items wait.
func NewWorkers[T any](most, waiting int, do func(T)) *Workers[T] {
	return &Workers[T]{do: do, most: most, queue: make(chan T, waiting)}
}

// Submit hands an item over without waiting. It returns false when all workers are
// busy and no more items may wait, and after Close.
func (w *Workers[T]) Submit(item T) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	if n := len(w.idle); n > 0 {
		w.idle[n-1] <- item // it has room for one
		w.idle = w.idle[:n-1]
		return true
	}
	if w.started < w.most {
		w.started++
		w.running.Go(func() { w.work(item, make(chan T, 1)) })
		return true
	}
	select {
	case w.queue <- item:
		return true
	default:
		return false
	}
}

func (w *Workers[T]) work(item T, next chan T) {
	for ok := true; ok; {
		w.do(item)
		item, ok = w.next(next)
	}
}

// next returns the next item, or false when there will be none.
func (w *Workers[T]) next(next chan T) (item T, ok bool) {
	w.mu.Lock()
	select {
	case item = <-w.queue:
		w.mu.Unlock()
		return item, true
	default:
	}
	if w.closed {
		w.mu.Unlock()
		return item, false
	}
	w.idle = append(w.idle, next)
	w.mu.Unlock()
	item, ok = <-next
	return item, ok
}

// Close takes no more items and waits until all that were submitted are done.
func (w *Workers[T]) Close() {
	w.mu.Lock()
	w.closed = true
	for _, next := range w.idle {
		close(next)
	}
	w.idle = nil
	w.mu.Unlock()
	w.running.Wait()
}
