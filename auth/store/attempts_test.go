package store_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chassi-go/chassi/auth/store"
)

const window = 24 * time.Hour

// lockAt is a bucket that is locked for a minute once it has limit failures.
func lockAt(key string, limit int) store.Bucket {
	return store.Bucket{Key: key, Limit: limit, Longest: time.Minute}
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
					lockAt("pair", limit), lockAt("account", limit), lockAt("network", 2*attempts),
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

// passes reports whether an attempt on key passes at the given time.
func passes(t *testing.T, s *store.Store, key string, limit int, now time.Time) bool {
	t.Helper()
	locked, err := s.Reserve(t.Context(), []store.Bucket{lockAt(key, limit)}, now, window)
	if err != nil {
		t.Fatal(err)
	}
	return locked.IsZero()
}

func TestALockEndsByItself(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, open func() *store.Store) {
		s, now := open(), born
		for i, want := range []bool{true, true, false, false} {
			if passes(t, s, "k", 2, now) != want {
				t.Errorf("attempt %d: want %v", i, want)
			}
		}
		if !passes(t, s, "k", 2, now.Add(time.Minute)) {
			t.Error("still locked after the delay: refused attempts must count for nothing")
		}
		if passes(t, s, "k", 2, now.Add(time.Minute)) {
			t.Error("not locked again")
		}
		if !passes(t, s, "k", 2, now.Add(2*window)) || !passes(t, s, "other", 2, now) {
			t.Error("old failures, or those of another bucket, still count")
		}
	})
}

func TestSuccessStartsTheBucketsAnew(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, open func() *store.Store) {
		s, u := open(), user("ada")
		add(t, s, u)
		passes(t, s, "pair", 2, born)
		passes(t, s, "network", 2, born)
		if err := s.Settle(t.Context(), []string{"pair"}, []string{"network"}, u.ID, "192.0.2.1", born); err != nil {
			t.Fatal(err)
		}
		for _, bucket := range []string{"pair", "network"} {
			if !passes(t, s, bucket, 2, born) {
				t.Errorf("%s is locked after a success", bucket)
			}
		}
		for network, want := range map[string]time.Time{"192.0.2.1": born, "192.0.2.2": {}, "": {}} {
			if seen, err := s.LastSeen(t.Context(), u.ID, network); err != nil || !seen.Equal(want) {
				t.Errorf("%q: last seen %v, %v, want %v", network, seen, err, want)
			}
		}
		if err := s.Settle(t.Context(), nil, nil, u.ID, "", born.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if seen, _ := s.LastSeen(t.Context(), u.ID, "192.0.2.1"); !seen.Equal(born) {
			t.Errorf("last seen %v after a login that was not to be remembered", seen)
		}
	})
}

// Only the latest twenty networks of an account are kept.
func TestNetworksAreBounded(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, open func() *store.Store) {
		s, u := open(), user("ada")
		add(t, s, u)
		for i := range 25 {
			if err := s.Settle(t.Context(), nil, nil, u.ID, fmt.Sprint("net", i), born.Add(time.Duration(i)*time.Second)); err != nil {
				t.Fatal(err)
			}
		}
		for i, want := range map[int]bool{0: false, 4: false, 5: true, 24: true} {
			if seen, err := s.LastSeen(t.Context(), u.ID, fmt.Sprint("net", i)); err != nil || seen.IsZero() == want {
				t.Errorf("network %d: last seen %v, %v", i, seen, err)
			}
		}
	})
}

// A refund gives a place back and unlocks what it had locked.
func TestRefund(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, open func() *store.Store) {
		s := open()
		passes(t, s, "k", 1, born)
		if passes(t, s, "k", 1, born) {
			t.Fatal("not locked")
		}
		if err := s.Refund(t.Context(), []string{"k", "never seen"}); err != nil {
			t.Fatal(err)
		}
		if !passes(t, s, "k", 1, born) {
			t.Error("locked after the refund")
		}
		if err := s.ForgetAttempts(t.Context(), born.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if !passes(t, s, "k", 1, born) {
			t.Error("locked after it was forgotten")
		}
	})
}
