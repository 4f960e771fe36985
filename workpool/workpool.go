// Package workpool runs work on a bounded number of goroutines behind a bounded
// queue, for work whose cost must be capped: password hashing, image scaling,
// mail.
//
// Two ways in, and they differ in who holds whom:
//
//   - [Do] is for a caller who waits for the result. When its context ends while
//     the work is queued, the place in the queue is free at once, for the next
//     caller, and the work never runs.
//   - [Pool.Submit] and [Pool.TrySubmit] are for a caller who goes on. Once they
//     return nil the work will run exactly once, whatever becomes of the caller's
//     context; only a [Pool.Stop] that runs out of time gives it up.
//
// Workers are goroutines that live while there is work: an idle pool has none. A
// panic ends the task, not the worker. Work starts in the order of acceptance.
//
// A task must not wait for another task of its own pool: with all workers
// waiting, nobody is left to run what they wait for.
package workpool

import (
	"context"
	"fmt"
	"runtime"
	"sync"
)

var (
	// ErrFull refuses work because all workers are busy and the queue has no place.
	ErrFull error = refusal("queue full")
	// ErrStopped refuses work, or gives up queued work, because of [Pool.Stop].
	ErrStopped error = refusal("stopped")
)

// refusal marks errors by which a pool declines work on purpose, for logs that tell them
// from failures.
type refusal string

func (r refusal) Error() string { return string(r) }

// Refused returns true.
func (refusal) Refused() bool { return true }

// Options of a Pool. The zero value works.
type Options struct {
	// Name stands in errors.
	Name string

	// Workers is the number of tasks that run at once. 0 means GOMAXPROCS.
	Workers int

	// Queue is the number of accepted tasks that wait for a worker. 0 means four
	// for each worker, a negative number means none.
	Queue int

	// OnPanic is told of a panic that no caller of [Do] is waiting to hear of, with
	// the context of the task; it runs on the worker. nil logs it by
	// slog.ErrorContext.
	OnPanic func(ctx context.Context, recovered any, stack []byte)
}

// A Pool runs tasks. It is made by New and safe for concurrent use.
type Pool struct {
	name    string
	workers int
	size    int
	onPanic func(ctx context.Context, recovered any, stack []byte)

	full    error // ErrFull with the pool's name: refusing must be cheap
	stopped error

	abandoned context.Context // ends when Stop gives up; tasks of Submit run under it
	abandon   context.CancelFunc

	mu       sync.Mutex
	queue    list // accepted, waiting for a worker
	waiting  list // in Submit, waiting for a place in the queue
	busy     int
	stopping bool
	drained  chan struct{} // closed when stopping and without work
	counts   Stats
}

// New returns a Pool. It starts no goroutine, so a pool that is never used needs
// no Stop.
func New(options Options) *Pool {
	p := &Pool{
		name:    options.Name,
		workers: options.Workers,
		size:    max(options.Queue, 0),
		onPanic: options.OnPanic,
		drained: make(chan struct{}),
	}
	if p.workers <= 0 {
		p.workers = runtime.GOMAXPROCS(0)
	}
	if options.Queue == 0 {
		p.size = 4 * p.workers
	}
	if p.onPanic == nil {
		p.onPanic = logPanic
	}
	p.full = p.errorf("%w: %d running, %d queued", ErrFull, p.workers, p.size)
	p.stopped = p.errorf("%w", ErrStopped)
	p.abandoned, p.abandon = context.WithCancel(context.Background())
	return p
}

func (p *Pool) errorf(format string, args ...any) error {
	return fmt.Errorf("workpool %q: "+format, append([]any{p.name}, args...)...)
}

// Stats is a snapshot of a Pool, for metrics. At any moment
//
//	Submitted = Completed + Panics + Canceled + Busy + Queued
type Stats struct {
	Workers   int // tasks that can run at once
	QueueSize int // tasks that can be queued
	Busy      int // tasks running
	Queued    int // tasks accepted and not yet running

	Submitted uint64 // accepted
	Completed uint64 // ran and returned, an error included
	Panics    uint64 // ran and panicked
	Canceled  uint64 // left the queue without running: the caller or Stop gave up
	Refused   uint64 // never accepted: full, stopped, or the caller gave up before
}

// Stats returns the present state.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.counts
	s.Workers, s.QueueSize = p.workers, p.size
	s.Busy, s.Queued = p.busy, p.queue.len
	return s
}
