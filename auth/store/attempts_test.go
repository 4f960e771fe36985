package store_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/internal/redistest"
)

const window = 24 * time.Hour

// lockAt is a bucket that is locked for a minute once it has limit failures.
func lockAt(key string, limit int) store.Bucket {
	return store.Bucket{Key: key, Limit: limit, Longest: time.Minute}
}

// T16: of 100 attempts at once on two nodes, exactly as many pass as the limit
// says, and none fails for the company it has.
func TestT16ParallelReservationsAreExact(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, open func() *store.Store) {
		nodes := [2]*store.Store{open(), open()}
		const limit, attempts = 25, 100
		began := time.Now()
		var granted atomic.Int64
		var all sync.WaitGroup
		for i := range attempts {
			all.Go(func() {
				// The clocks of nodes differ, and who looks first need not come first.
				now := began.Add(time.Duration(i%7) * 100 * time.Millisecond)
				_, locked, err := nodes[i%2].Reserve(t.Context(), []store.Bucket{
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
	_, locked, err := s.Reserve(t.Context(), []store.Bucket{lockAt(key, limit)}, now, window)
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
		counted, _, err := s.Reserve(t.Context(), []store.Bucket{lockAt("network", 2)}, born, window)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Settle(t.Context(), []string{"pair"}, counted, u.ID, "192.0.2.1", born); err != nil {
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

// A refund subtracts the attempt and ends the lock that it had set.
func TestRefund(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, open func() *store.Store) {
		s := open()
		counted, _, err := s.Reserve(t.Context(), []store.Bucket{lockAt("k", 1)}, born, window)
		if err != nil {
			t.Fatal(err)
		}
		if passes(t, s, "k", 1, born) {
			t.Fatal("not locked")
		}
		if err := s.Refund(t.Context(), append(counted, store.Counted{Key: "never seen", Limit: 1})); err != nil {
			t.Fatal(err)
		}
		if !passes(t, s, "k", 1, born) {
			t.Error("locked after the refund")
		}
		if err := s.DeleteAttempts(t.Context(), born.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if !passes(t, s, "k", 1, born) {
			t.Error("locked after it was forgotten")
		}
	})
}

// attemptsEverywhere runs test with attempts that are counted in each database, and in Redis.
func attemptsEverywhere(t *testing.T, test func(t *testing.T, a store.Attempts, now func() time.Time)) {
	t.Helper()
	engines(t, func(t *testing.T, open func() *store.Store) {
		began := time.Now()
		t.Run("database", func(t *testing.T) { test(t, open(), func() time.Time { return began }) })
		t.Run("redis", func(t *testing.T) {
			c, _ := redistest.Config(t)
			var fellBack atomic.Int64
			test(t, shared(t, c, open, &fellBack), time.Now)
			if fellBack.Load() != 0 {
				t.Error("fell back")
			}
		})
	})
}

// R80: what takes an attempt back takes back what it counted, and no lock that the
// failures of others have set.
func TestRefundLeavesTheLocksOfOthers(t *testing.T) {
	t.Parallel()
	attemptsEverywhere(t, func(t *testing.T, a store.Attempts, now func() time.Time) {
		reserve := func(limit int) (counted []store.Counted, locked time.Time) {
			t.Helper()
			counted, locked, err := a.Reserve(t.Context(), []store.Bucket{{Key: "k", Limit: limit, Longest: time.Hour}}, now(), window)
			if err != nil {
				t.Fatal(err)
			}
			return counted, locked
		}
		undo := map[string]func([]store.Counted) error{
			"refund": func(c []store.Counted) error { return a.Refund(t.Context(), c) },
			"settle": func(c []store.Counted) error { return a.Settle(t.Context(), nil, c, "", "", now()) },
		}
		for name, back := range undo {
			waiting, _ := reserve(9) // no lock yet
			reserve(9)
			reserve(2) // the third failure locks for two seconds
			if _, locked := reserve(2); locked.IsZero() {
				t.Fatalf("%s: not locked", name)
			}
			waiting[0].Limit = 2
			if err := back(waiting); err != nil {
				t.Fatal(err)
			}
			if _, locked := reserve(2); locked.IsZero() {
				t.Errorf("%s: one attempt less, and a lock of others has gone", name)
			}
			waiting[0].Limit = 3 // with one failure left, no lock is due
			if err := back(waiting); err != nil {
				t.Fatal(err)
			}
			if _, locked := reserve(9); !locked.IsZero() {
				t.Errorf("%s: locked until %v with fewer failures than the limit", name, locked)
			}
			if err := a.Settle(t.Context(), []string{"k"}, nil, "", "", now()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Exempt buckets neither hold an attempt up nor count it.
func TestExemptBuckets(t *testing.T) {
	t.Parallel()
	attemptsEverywhere(t, func(t *testing.T, a store.Attempts, now func() time.Time) {
		reserve := func(buckets ...store.Bucket) (counted []store.Counted, locked time.Time) {
			t.Helper()
			counted, locked, err := a.Reserve(t.Context(), buckets, now(), window)
			if err != nil {
				t.Fatal(err)
			}
			return counted, locked
		}
		full := store.Bucket{Key: "full", Limit: 1, Longest: time.Hour}
		reserve(full)
		reserve(store.Bucket{Key: "full", Limit: 1, Longest: time.Hour})
		exempt, fresh := full, store.Bucket{Key: "fresh", Limit: 1, Longest: time.Hour, Exempt: true}
		exempt.Exempt = true
		for range 3 {
			counted, locked := reserve(lockAt("pair", 9), exempt, fresh)
			if !locked.IsZero() || len(counted) != 1 || counted[0].Key != "pair" {
				t.Errorf("locked until %v, counted %v", locked, counted)
			}
		}
		if _, locked := reserve(lockAt("pair", 9), full, fresh); locked.IsZero() {
			t.Error("the lock of an exempt bucket has gone")
		}
		fresh.Exempt = false
		if _, locked := reserve(fresh); !locked.IsZero() {
			t.Error("an exempt bucket was counted")
		}
		if counted, _ := reserve(exempt); len(counted) != 0 {
			t.Errorf("counted %v, though all is exempt", counted)
		}
	})
}
