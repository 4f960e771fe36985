// Package workpool runs tasks on a bounded number of goroutines behind a bounded queue,
// for work whose cost must be limited, such as password hashing, image scaling, or
// handling the calls that a broker delivers.
//
// There are two ways to run a task:
//
//   - [Do] waits for the result. If its context is done while the task is queued, the task never
//     runs and its place in the queue is free at once.
//   - [Pool.Submit] and [Pool.TrySubmit] do not wait for the task. Once they return
//     nil, the task runs exactly once, even if the caller's context is canceled; only a
//     [Pool.Stop] that runs out of time drops it.
//
// Workers are started as they are needed and run until [Pool.Stop]: a pool that has
// run a task must be stopped. A panic ends the task, not the worker. Tasks start in
// the order in which they were accepted.
//
// A task must not wait for another task of its own pool: if all workers waited, the
// pool would deadlock.
package workpool

import (
	"context"
	"fmt"
	"runtime"
	"sync"
)

var (
	// ErrFull means that all workers are busy and the queue is full.
	ErrFull error = refusal("queue full")
	// ErrStopped means that [Pool.Stop] has been called.
	ErrStopped error = refusal("stopped")
)

// refusal is the type of the errors for rejected tasks. Logs use its method Refused to
// distinguish rejected tasks from failures.
type refusal string

func (r refusal) Error() string { return string(r) }

// Refused returns true, which marks the error as a deliberate refusal.
func (refusal) Refused() bool { return true }

// Unavailable returns true, which makes a service return the code Unavailable for the error.
func (refusal) Unavailable() bool { return true }

// Options configures a [Pool]. The zero value is usable.
type Options struct {
	// Name identifies the pool in errors and spans.
	Name string

	// Workers is the maximum number of tasks that run concurrently. 0 means GOMAXPROCS.
	Workers int

	// Queue is the maximum number of accepted tasks that wait for a worker. 0 means four per
	// worker, and a negative number means no queue.
	Queue int

	// OnPanic is called on the worker, with the context of the task, after a panic
	// that is not returned to a caller of [Do]. A call of runtime.Goexit counts as a panic.
	// If OnPanic is nil, the panic is logged with slog.ErrorContext.
	OnPanic func(ctx context.Context, recovered any, stack []byte)
}

// Pool runs tasks on its workers. Create a pool with [New]. It is safe for concurrent use.
type Pool struct {
	name    string
	workers int
	size    int
	onPanic func(ctx context.Context, recovered any, stack []byte)

	full    error // ErrFull with the pool's name, created once because refusing must be cheap
	stopped error // ErrStopped with the pool's name

	abandoned context.Context // canceled when Stop gives up; tasks of Submit and TrySubmit run under it
	abandon   context.CancelFunc

	mu       sync.Mutex
	queue    list // accepted, waiting for a worker
	waiting  list // in Submit, waiting for a place in the queue
	busy     int
	started  int             // workers, idle ones included
	idle     []chan struct{} // wakes a worker, or ends it when closed
	waking   bool            // a woken worker has not yet looked at the queue
	stopping bool
	drained  chan struct{} // closed when the pool is stopping and has no tasks
	counts   Stats
}

// New returns a Pool. It starts no goroutine: a pool that is never used need not be
// stopped.
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

// Stats contains the statistics of a Pool at one moment, for metrics. It satisfies
//
//	Submitted = Completed + Panics + Canceled + Busy + Queued
type Stats struct {
	Workers   int // tasks that can run at once
	QueueSize int // tasks that can be queued
	Busy      int // tasks running
	Queued    int // tasks accepted and not yet running

	Submitted uint64 // accepted
	Completed uint64 // ran and returned, with or without an error
	Panics    uint64 // ran and panicked
	Canceled  uint64 // left the queue without running: the caller or Stop gave up
	Refused   uint64 // never accepted: full, stopped, or the caller gave up before
}

// Stats returns the current statistics.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.counts
	s.Workers, s.QueueSize = p.workers, p.size
	accepted := p.busy + p.queue.len // as many as there are workers run, or will in a moment
	s.Busy = min(accepted, p.workers)
	s.Queued = accepted - s.Busy
	return s
}
