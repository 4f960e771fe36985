package ratelimit_test

import (
	"math/rand/v2"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/chassi-go/chassi/ratelimit"
)

func TestUsageBoundsEachKeyAlone(t *testing.T) {
	t.Parallel()
	u := ratelimit.NewUsage()
	a, b := ratelimit.StringKey("a"), ratelimit.StringKey("b")
	if !u.Acquire(a, 2, 3) || !u.Acquire(a, 1, 3) || u.Acquire(a, 1, 3) {
		t.Error("a does not get 3 of 3, or more")
	}
	if !u.Acquire(b, 3, 3) {
		t.Error("b pays for what a holds")
	}
	u.Release(a, 1)
	if held := u.Held(a); held != 2 {
		t.Errorf("a holds %d, want 2", held)
	}
	if u.Acquire(a, 2, 3) || !u.Acquire(a, 1, 3) {
		t.Error("what was given back cannot be had again, or more than that")
	}
	if u.Acquire(a, 1, 2) {
		t.Error("a lower maximum was passed over")
	}
}

// Unused keys take no memory, regardless of their number.
func TestUsageDropsUnusedKeys(t *testing.T) {
	t.Parallel()
	u := ratelimit.NewUsage()
	for i := range 10_000 {
		key := ratelimit.StringKey(strconv.Itoa(i))
		if !u.Acquire(key, 1, 1) || u.Acquire(key, 1, 1) {
			t.Fatal("not one of one")
		}
		defer func() {
			if u.Release(key, 1); i == 0 && u.Len() != 0 {
				t.Errorf("%d keys are left", u.Len())
			}
		}()
	}
	if n := u.Len(); n != 10_000 {
		t.Errorf("%d keys, want 10,000", n)
	}
}

func TestUsageIsNeverExceeded(t *testing.T) {
	t.Parallel()
	const most = 7
	u, key := ratelimit.NewUsage(), ratelimit.StringKey("shared")
	var now, refused atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 2_000 {
				if !u.Acquire(key, 1, most) {
					refused.Add(1)
					continue
				}
				if n := now.Add(1); n > most {
					t.Errorf("%d at once", n)
				}
				now.Add(-1)
				u.Release(key, 1)
			}
		})
	}
	all.Wait()
	if u.Len() != 0 {
		t.Errorf("%d held at the end, %d refused", u.Held(key), refused.Load())
	}
}

func BenchmarkUsage(b *testing.B) {
	for name, keys := range map[string]int{"one": 1, "many": 10_000} {
		b.Run(name, func(b *testing.B) {
			u := ratelimit.NewUsage()
			list := make([]ratelimit.Key, keys)
			for i := range list {
				list[i] = ratelimit.AddrKey(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if u.Acquire(list[i%keys], 1, 100) {
						u.Release(list[i%keys], 1)
					}
				}
			})
		})
	}
}

// Keys that share a lock are counted apart, whichever of them holds something first.
func TestUsageOfKeysThatMeet(t *testing.T) {
	t.Parallel()
	u, want := ratelimit.NewUsage(), make(map[int]int64)
	random := rand.New(rand.NewPCG(1, 2))
	key := func(i int) ratelimit.Key { return ratelimit.AddrKey(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})) }
	for range 100_000 {
		i, n := random.IntN(250), 1+random.Int64N(3)
		switch {
		case want[i] == 0 || random.IntN(2) == 0:
			if ok := u.Acquire(key(i), n, 5); ok != (want[i]+n <= 5) {
				t.Fatalf("key %d holds %d, %d more: %v", i, want[i], n, ok)
			} else if ok {
				want[i] += n
			}
		default:
			n = min(n, want[i])
			u.Release(key(i), n)
			want[i] -= n
		}
		if got := u.Held(key(i)); got != want[i] {
			t.Fatalf("key %d holds %d, want %d", i, got, want[i])
		}
	}
	for i, n := range want {
		u.Release(key(i), n)
	}
	if u.Len() != 0 {
		t.Errorf("%d keys hold something", u.Len())
	}
}
