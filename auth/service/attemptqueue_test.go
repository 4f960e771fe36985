package service

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/chassi-go/chassi/workpool"
)

// Attempts run in order of arrival, an attempt above the limit of waiting ones is rejected, a
// canceled one leaves the queue, and an unused queue is deleted.
func TestAttemptQueueIsFirstInFirstOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := attemptQueues{byKey: make(map[string]*attemptQueue)}
		if err := q.acquire(t.Context(), "a", 1, 2); err != nil {
			t.Fatal(err)
		}
		if err := q.acquire(t.Context(), "another", 1, 0); err != nil {
			t.Errorf("another queue: %v", err)
		}
		q.release("another")
		var order []string
		results := make(chan error, 4)
		wait := func(ctx context.Context, name string) {
			go func() {
				err := q.acquire(ctx, "a", 1, 2)
				if err == nil {
					order = append(order, name)
				}
				results <- err
			}()
			synctest.Wait()
		}
		ctx, cancel := context.WithCancel(t.Context())
		wait(ctx, "gives up")
		wait(t.Context(), "first")
		if err := q.acquire(t.Context(), "a", 1, 2); !errors.Is(err, workpool.ErrFull) {
			t.Errorf("an attempt above the limit: %v", err)
		}
		cancel()
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Errorf("one that gave up: %v", err)
		}
		wait(t.Context(), "second")
		for range 2 {
			q.release("a")
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if len(order) != 2 || order[0] != "first" || order[1] != "second" {
			t.Errorf("order: %q", order)
		}
		q.release("a")
		if len(q.byKey) != 0 {
			t.Errorf("%d queues are left", len(q.byKey))
		}
	})
}
