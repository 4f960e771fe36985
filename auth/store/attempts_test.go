package store_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chassi-go/chassi/auth/store"
)

const window = 24 * time.Hour

// lockAt locks a bucket for a minute once it has limit failures.
func lockAt(limit int) func(int) time.Duration {
	return func(failures int) time.Duration {
		if failures < limit {
			return 0
		}
		return time.Minute
	}
}

// T16: of 200 attempts at once on two nodes, exactly as many pass as the limit
// says, and none fails for the company it has.
func TestT16ParallelReservationsAreExact(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, open func() *store.Store) {
		nodes := [2]*store.Store{open(), open()}
		const limit, attempts = 50, 200
		began := time.Now()
		var granted atomic.Int64
		var all sync.WaitGroup
		for i := range attempts {
			all.Go(func() {
				// The clocks of nodes differ, and who looks first need not come first.
				now := began.Add(time.Duration(i%7) * 100 * time.Millisecond)
				locked, err := nodes[i%2].Reserve(t.Context(), []store.Bucket{
					{Key: "pair", Delay: lockAt(limit)}, {Key: "account", Delay: lockAt(limit)}, {Key: "network", Delay: lockAt(2 * attempts)},
				}, now, window)
				if err != nil {
					t.Error(err)
				} else if locked.IsZero() {
					granted.Add(1)
				}
			})
		}
		all.Wait()
		if granted.Load() != limit {
			t.Errorf("%d attempts granted, want exactly %d", granted.Load(), limit)
		}
	})
}
