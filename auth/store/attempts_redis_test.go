package store_test

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/internal/proxytest"
	"github.com/chassi-go/chassi/internal/redistest"
	"github.com/chassi-go/chassi/redis"
)

// shared is attempts of one node, over the database that open opens.
func shared(t *testing.T, c redis.Config, open func() *store.Store, fellBack *atomic.Int64) store.Attempts {
	t.Helper()
	return store.NewSharedAttempts(open(), redistest.Open(t, c), func() { fellBack.Add(1) })
}

// T16, on two nodes that count in Redis.
func TestT16ParallelReservationsAreExactInRedis(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, open func() *store.Store) {
		c, _ := redistest.Config(t)
		var granted, fellBack atomic.Int64
		nodes := [2]store.Attempts{shared(t, c, open, &fellBack), shared(t, c, open, &fellBack)}
		const limit, attempts = 50, 200
		var all sync.WaitGroup
		began := time.Now()
		for i := range attempts {
			all.Go(func() {
				_, locked, err := nodes[i%2].Reserve(t.Context(), []store.Bucket{lockAt("pair", limit), lockAt("account", limit), lockAt("network", 2*attempts)}, born, window)
				if err != nil {
					t.Error(err)
				} else if locked.IsZero() {
					granted.Add(1)
				}
			})
		}
		all.Wait()
		// The 50th locks for a second and the next for two, which a slow machine may outlast.
		slow := int64(bits.Len(uint(time.Since(began) / time.Second)))
		if n := granted.Load(); n < limit || n > limit+slow || fellBack.Load() != 0 {
			t.Errorf("%d attempts granted, want %d; fell back %d times", n, limit, fellBack.Load())
		}
	})
}

func TestAttemptsInRedis(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, open func() *store.Store) {
		c, _ := redistest.Config(t)
		var fellBack atomic.Int64
		a, s, u := shared(t, c, open, &fellBack), open(), user("ada")
		add(t, s, u)
		var counted []store.Counted
		try := func(key string, limit int, longest time.Duration) (locked time.Duration) {
			t.Helper()
			last, until, err := a.Reserve(t.Context(), []store.Bucket{{Key: key, Limit: limit, Longest: longest}}, born, window)
			if err != nil {
				t.Fatal(err)
			}
			if until.IsZero() {
				counted = last
				return 0
			}
			return until.Sub(born)
		}
		for i := range 3 {
			if d := try("k", 3, time.Hour); d != 0 {
				t.Errorf("attempt %d is locked for %v", i, d)
			}
		}
		if d := try("k", 3, time.Hour); d <= 0 || d > time.Second {
			t.Errorf("locked for %v after the third failure, want a second", d)
		}
		for try("k", 3, time.Hour) > 0 { // until the second is over
		}
		if d := try("k", 3, time.Hour); d <= time.Second || d > 2*time.Second {
			t.Errorf("locked for %v after the fourth failure, want two seconds", d)
		}
		if err := a.Refund(t.Context(), append(counted, store.Counted{Key: "never seen", Limit: 1})); err != nil {
			t.Fatal(err)
		}
		if d := try("k", 3, time.Hour); d != 0 {
			t.Errorf("locked for %v after a refund", d)
		}
		if err := a.Settle(t.Context(), []string{"k"}, []store.Counted{{Key: "n", Limit: 1}}, u.ID, "192.0.2.1", born); err != nil {
			t.Fatal(err)
		}
		if d := try("k", 2, time.Hour); d != 0 {
			t.Errorf("locked for %v after a success", d)
		}
		if seen, err := s.LastSeen(t.Context(), u.ID, "192.0.2.1"); err != nil || !seen.Equal(born) {
			t.Errorf("last seen %v, %v", seen, err)
		}
		try("short", 1, 30*time.Millisecond)
		for try("short", 1, 30*time.Millisecond) > 30*time.Millisecond {
			t.Error("locked for longer than the longest")
		}
		if fellBack.Load() != 0 {
			t.Error("fell back")
		}
	})
}

// Fault 37: without Redis attempts are counted in the database, as exactly.
func TestFault37LockoutFallsBackToTheDatabase(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, open func() *store.Store) {
		c, addr := redistest.Config(t)
		p := proxytest.New(t, addr)
		c.URL, c.Timeout = "redis://"+p.Addr, 50*time.Millisecond
		var fellBack atomic.Int64
		a, s, u := shared(t, c, open, &fellBack), open(), user("ada")
		add(t, s, u)
		granted := 0
		var last []store.Counted
		for range 20 {
			counted, locked, err := a.Reserve(t.Context(), []store.Bucket{lockAt("k", 5)}, born, window)
			if err != nil {
				t.Fatal(err)
			}
			if locked.IsZero() {
				granted++
				last = counted
			}
		}
		if granted != 5 || fellBack.Load() != 20 {
			t.Errorf("%d granted, fell back %d times", granted, fellBack.Load())
		}
		if err := a.Refund(t.Context(), last); err != nil {
			t.Error(err)
		}
		if err := a.Settle(t.Context(), []string{"k"}, nil, u.ID, "192.0.2.1", born); err != nil {
			t.Error(err)
		}
		if seen, err := s.LastSeen(t.Context(), u.ID, "192.0.2.1"); err != nil || !seen.Equal(born) {
			t.Errorf("last seen %v, %v", seen, err)
		}
	})
}
