package service

import (
	"context"
	"slices"
	"sync"

	"github.com/chassi-go/chassi/workpool"
)

// attemptQueues limits how many attempts on each bucket this node evaluates concurrently. The limit
// is the number of failures that lock the bucket; further attempts wait. Without the limit,
// concurrent logins with the right password would lock the account. attemptQueues is safe for
// concurrent use.
type attemptQueues struct {
	mu    sync.Mutex
	byKey map[string]*attemptQueue
}

type attemptQueue struct {
	running int
	waiting []chan struct{} // each is closed when its attempt may run
}

// acquire begins an attempt on the bucket with the given key; release ends the attempt. acquire
// waits while limit attempts on the bucket are running. Waiting attempts run in order of arrival.
// acquire returns ctx.Err() if ctx is done first, and [workpool.ErrFull] if maxWaiting attempts on
// the bucket are already waiting.
func (a *attemptQueues) acquire(ctx context.Context, key string, limit, maxWaiting int) error {
	a.mu.Lock()
	q := a.byKey[key]
	if q == nil {
		q = new(attemptQueue)
		a.byKey[key] = q
	}
	if q.running < limit {
		q.running++
		a.mu.Unlock()
		return nil
	}
	if len(q.waiting) >= maxWaiting {
		a.mu.Unlock()
		return workpool.ErrFull
	}
	turn := make(chan struct{})
	q.waiting = append(q.waiting, turn)
	a.mu.Unlock()

	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	a.mu.Lock()
	i := slices.Index(q.waiting, turn)
	if i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	a.mu.Unlock()
	if i < 0 { // acquired concurrently
		a.release(key)
	}
	return ctx.Err()
}

// release ends an attempt on the bucket with the given key and starts the attempt on that bucket
// that has waited longest, if any.
func (a *attemptQueues) release(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := a.byKey[key]
	if len(q.waiting) > 0 {
		close(q.waiting[0])
		q.waiting = q.waiting[1:]
		return
	}
	if q.running--; q.running == 0 {
		delete(a.byKey, key)
	}
}
