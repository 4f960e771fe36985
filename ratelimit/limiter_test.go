package ratelimit_test

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
	"pgregory.net/rapid"

	"github.com/chassi-go/chassi/ratelimit"
)

// clock is a clock that a test sets.
type clock struct{ t time.Time }

func newClock() *clock                   { return &clock{time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)} }
func (c *clock) now() time.Time          { return c.t }
func (c *clock) advance(d time.Duration) { c.t = c.t.Add(d) }

// spend calls until refused and returns how many calls passed.
func spend(l *ratelimit.Limiter, key ratelimit.Key) int {
	n := 0
	for l.Allow(key).Allowed {
		n++
	}
	return n
}

func TestAllowDecision(t *testing.T) {
	t.Parallel()
	clock := newClock()
	l := ratelimit.New(ratelimit.Options{Limit: ratelimit.Per(3, 3*time.Second), Now: clock.now})
	key := ratelimit.StringKey("ann")
	steps := []struct {
		after time.Duration
		want  ratelimit.Decision
	}{
		{0, ratelimit.Decision{Allowed: true, Limit: 3, Remaining: 2, Reset: time.Second}},
		{0, ratelimit.Decision{Allowed: true, Limit: 3, Remaining: 1, Reset: 2 * time.Second}},
		{0, ratelimit.Decision{Allowed: true, Limit: 3, Remaining: 0, Reset: 3 * time.Second}},
		{0, ratelimit.Decision{Limit: 3, RetryAfter: time.Second, Reset: 3 * time.Second}},
		{time.Second - 1, ratelimit.Decision{Limit: 3, RetryAfter: 1, Reset: 2*time.Second + 1}},
		{1, ratelimit.Decision{Allowed: true, Limit: 3, Remaining: 0, Reset: 3 * time.Second}},
		{time.Hour, ratelimit.Decision{Allowed: true, Limit: 3, Remaining: 2, Reset: time.Second}},
	}
	for i, step := range steps {
		clock.advance(step.after)
		if got := l.Allow(key); got != step.want {
			t.Errorf("step %d: %+v, want %+v", i, got, step.want)
		}
	}
}

func TestLimitsThatKeepNoAccount(t *testing.T) {
	t.Parallel()
	key := ratelimit.StringKey("ann")
	off := ratelimit.New(ratelimit.Options{Limit: ratelimit.Off()})
	if d := off.Allow(key); !d.Allowed || d.Limit != 0 {
		t.Errorf("off: %+v", d)
	}
	for _, limit := range []ratelimit.Limit{{}, {Rate: 1}, {Burst: 1}, {Rate: -1, Burst: 1}, {Rate: math.NaN(), Burst: 1}, {Rate: 1e8, Burst: 1}} {
		l := ratelimit.New(ratelimit.Options{Limit: limit})
		if d := l.Allow(key); d.Allowed || d.RetryAfter <= 0 {
			t.Errorf("%#v: %+v, want a refusal", limit, d)
		}
	}
}

// The oracle: any mix of keys and pauses passes as many calls as x/time/rate.
func TestAllowAgreesWithXTimeRateF29(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit := anyLimit().Draw(t, "limit")
		clock := newClock()
		l := ratelimit.New(ratelimit.Options{Limit: limit, Now: clock.now})
		oracle := make([]*rate.Limiter, 3)
		ours, theirs := make([]int, 3), make([]int, 3)
		for i := range oracle {
			oracle[i] = rate.NewLimiter(rate.Limit(limit.Rate), limit.Burst)
		}
		longest := int64(limit.Window()) / 2
		for range rapid.IntRange(1, 60).Draw(t, "rounds") {
			clock.advance(time.Duration(rapid.Int64Range(0, longest).Draw(t, "pause")))
			who := rapid.IntRange(0, 2).Draw(t, "key")
			for range rapid.IntRange(1, limit.Burst+1).Draw(t, "calls") {
				ours[who] += count(l.Allow(ratelimit.StringKey(strconv.Itoa(who))).Allowed)
				theirs[who] += count(oracle[who].AllowN(clock.t, 1))
			}
		}
		for who := range oracle {
			if diff := math.Abs(float64(ours[who] - theirs[who])); diff > max(1, 0.01*float64(theirs[who])) {
				t.Fatalf("key %d under %v: %d calls passed, by x/time/rate %d", who, limit, ours[who], theirs[who])
			}
		}
	})
}

func count(passed bool) int {
	if passed {
		return 1
	}
	return 0
}

func TestRetryAfterIsExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		clock := newClock()
		l := ratelimit.New(ratelimit.Options{Limit: anyLimit().Draw(t, "limit"), Now: clock.now})
		key := ratelimit.StringKey("ann")
		spend(l, key)
		clock.advance(l.Allow(key).RetryAfter - 1)
		if l.Allow(key).Allowed {
			t.Fatal("passed before RetryAfter")
		}
		clock.advance(1)
		d := l.Allow(key)
		if !d.Allowed {
			t.Fatalf("refused after RetryAfter: %+v", d)
		}
		clock.advance(d.Reset)
		if got, want := spend(l, key), d.Limit; got != want {
			t.Fatalf("%d calls after Reset, want the full burst %d", got, want)
		}
	})
}

// Far more keys than slots: some refusals are undeserved, but no key ever passes
// a call that an exact account of its own passed calls would refuse.
func TestFullTableGrantsNoExtraCallsF29(t *testing.T) {
	t.Parallel()
	const keys = 10_000
	limit := ratelimit.Per(3, 3*time.Second)
	rapid.Check(t, func(t *rapid.T) {
		clock := newClock()
		l := ratelimit.New(ratelimit.Options{Limit: limit, MaxKeys: 1, Now: clock.now})
		full := make(map[int]time.Time, keys) // the exact account: when each bucket is full
		next := rapid.Uint64().Draw(t, "seed")
		pause := time.Duration(rapid.Int64Range(0, 500_000).Draw(t, "pause"))
		passed, late := 0, 0
		for range keys {
			next = next*6364136223846793005 + 1442695040888963407
			who := int(next>>33) % keys
			if next>>62 == 0 {
				who %= 50 // a quarter of the calls comes from a few busy keys
			}
			clock.advance(pause)
			if !l.Allow(number(who)).Allowed {
				continue
			}
			passed++
			at := clock.t
			if full[who].After(at) {
				at = full[who]
			}
			full[who] = at.Add(time.Second)
			late += count(full[who].Sub(clock.t) > 3*time.Second)
		}
		if late > 0 || passed == 0 {
			t.Fatalf("%d of %d passed calls were over the key's own limit", late, passed)
		}
	})
}

// number returns the key of the n-th IPv4 address.
func number(n int) ratelimit.Key {
	return ratelimit.AddrKey(netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}))
}

func TestClockSteps(t *testing.T) {
	t.Parallel()
	for _, step := range []time.Duration{-time.Hour, -24 * time.Hour, -1, time.Hour, 24 * time.Hour} {
		clock := newClock()
		l := ratelimit.New(ratelimit.Options{Limit: ratelimit.Per(10, 10*time.Second), Now: clock.now})
		clock.advance(time.Minute)
		busy, idle := ratelimit.StringKey("busy"), ratelimit.StringKey("idle")
		l.Allow(idle)
		spend(l, busy)
		clock.advance(step)
		if got := spend(l, busy); step < 0 && got != 0 || got > 10 {
			t.Errorf("step %v: %d calls granted", step, got)
		}
		clock.advance(2 * time.Second)
		if got := spend(l, busy); got != 2 {
			t.Errorf("step %v: %d calls in the 2s after, want 2", step, got)
		}
		// The key is in another part of the table, which may not know of the 2s.
		if got := spend(l, idle); got < 9 || got > 10 {
			t.Errorf("step %v: %d calls for a key that was idle, want 9 or 10", step, got)
		}
	}
}

func TestDefaultClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.New(ratelimit.Options{Limit: ratelimit.Per(2, time.Second)})
		key := ratelimit.StringKey("ann")
		first := spend(l, key)
		time.Sleep(500 * time.Millisecond)
		if second := spend(l, key); first != 2 || second != 1 {
			t.Errorf("%d calls, then %d; want 2, then 1", first, second)
		}
	})
}

func TestSetLimitKeepsBucketsAsFull(t *testing.T) {
	t.Parallel()
	clock := newClock()
	l := ratelimit.New(ratelimit.Options{Limit: ratelimit.Per(10, 10*time.Second), Now: clock.now})
	empty, half, full := ratelimit.StringKey("empty"), ratelimit.StringKey("half"), ratelimit.StringKey("full")
	spend(l, empty)
	for range 5 {
		l.Allow(half)
	}
	l.SetLimit(ratelimit.Per(100, time.Second))
	if got := l.Limit(); got != ratelimit.Per(100, time.Second) {
		t.Errorf("Limit() = %v", got)
	}
	for key, want := range map[ratelimit.Key]int{empty: 0, half: 50, full: 100} {
		if got := spend(l, key); got != want {
			t.Errorf("%d calls, want %d", got, want)
		}
	}
	l.SetLimit(ratelimit.Per(2, time.Hour))
	l.SetLimit(ratelimit.Off())
	l.SetLimit(ratelimit.Limit{})
	l.SetLimit(ratelimit.Per(2, time.Minute))
	for _, key := range []ratelimit.Key{empty, half, full} {
		if got := spend(l, key); got != 0 {
			t.Errorf("reloading gave a blocked key %d calls", got)
		}
	}
	clock.advance(30 * time.Second)
	if got := spend(l, empty); got != 1 {
		t.Errorf("%d calls after half the new window, want 1", got)
	}
}

func TestConcurrentCallsGrantExactly(t *testing.T) {
	t.Parallel()
	clock := newClock()
	l := ratelimit.New(ratelimit.Options{Limit: ratelimit.Per(50, time.Minute), Now: clock.now})
	var passed [20]atomic.Int64
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i := range 2000 {
				who := i % len(passed)
				passed[who].Add(int64(count(l.Allow(number(who)).Allowed)))
				if i%500 == 0 {
					l.Len()
					l.SetLimit(l.Limit())
				}
			}
		})
	}
	group.Wait()
	for who := range passed {
		if got := passed[who].Load(); got != 50 {
			t.Errorf("key %d: %d calls passed, want 50", who, got)
		}
	}
}

func TestAllowDoesNotAllocate(t *testing.T) {
	l := ratelimit.New(ratelimit.Options{Limit: ratelimit.Per(1, time.Hour), MaxKeys: 1})
	for n := range 20_000 { // until the table has its size
		l.Allow(number(n))
	}
	n := 0
	allocs := testing.AllocsPerRun(1000, func() {
		n++
		l.Allow(number(n))
		l.Allow(ratelimit.StringKey("ann"))
		l.Allow(ratelimit.AddrKey(netip.AddrFrom16([16]byte{0x20, byte(n)})))
	})
	if allocs != 0 {
		t.Errorf("%v allocations per call", allocs)
	}
}

func Example() {
	now := time.Now()
	limiter := ratelimit.New(ratelimit.Options{
		Limit: ratelimit.Per(2, time.Minute),
		Now:   func() time.Time { return now },
	})
	client := ratelimit.AddrKey(netip.MustParseAddr("2001:db8::1"))
	for range 3 {
		d := limiter.Allow(client)
		fmt.Println(d.Allowed, d.Remaining, d.RetryAfter)
	}
	// Output:
	// true 1 0s
	// true 0 0s
	// false 0 30s
}
