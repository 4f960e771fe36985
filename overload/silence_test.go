package overload

import (
	"testing"
	"testing/synctest"
	"time"
)

// A success ends a standstill for calls that waited in it for more than half a second and for longer
// than calls are tolerated to take, for three seconds.
func TestEndOfAStandstill(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		usual time.Duration
		steps []int64 // a success at, of a call from, in milliseconds
		want  bool
	}{
		{10 * time.Millisecond, []int64{1000, 990, 3000, 1500}, true},
		{10 * time.Millisecond, []int64{1000, 990, 3000, 2900}, false},         // one that began late
		{10 * time.Millisecond, []int64{1000, 990, 3000, 2900, 3010, 1}, true}, // one that waited, after that
		{10 * time.Millisecond, []int64{1000, 990, 1500, 1, 1510, 1}, true},    // the first one, since the beginning
		{10 * time.Millisecond, []int64{400, 390, 900, 1}, false},              // for half a second
		{10 * time.Millisecond, []int64{400, 390, 901, 1}, true},               // for more
		{10 * time.Millisecond, []int64{400, 390, 901, 402}, false},            // of which it waited less
		{10 * time.Millisecond, []int64{400, 390, 3000, 2500}, false},          // of which it waited half a second
		{10 * time.Millisecond, []int64{1000, 990, 3000, 1500, 5999, 1}, true}, // three seconds later
		{10 * time.Millisecond, []int64{1000, 990, 3000, 1500, 3300, 3299, 3700, 3699, 4100, 4099, 4500, 4499, 4900, 4899, 5300, 5299, 5700, 5699, 6000, 1}, false},
		{600 * time.Millisecond, []int64{1000, 990, 3000, 1500}, false}, // no longer than tolerated
		{600 * time.Millisecond, []int64{1000, 990, 3000, 1100}, true},
		{600 * time.Millisecond, []int64{1000, 990, 3000, 1}, true}, // two seconds of standstill
	} {
		k := New(Config{}).Class("calls", High)
		k.takes(c.usual, 0, c.usual)
		got := false
		for i := 0; i < len(c.steps); i += 2 {
			got = k.endsStandstill(c.steps[i]*ms, c.steps[i+1]*ms)
		}
		if got != c.want {
			t.Errorf("%v are usual, successes at %v: %t, want %t", c.usual, c.steps, got, c.want)
		}
	}
}

// A recovery begins if more calls are in flight than usual, at most once in thirty seconds, and
// admits a quarter more.
func TestARecoveryBegins(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, k := inFlight(t, Config{}, 10)
		l.recover(5000 * ms)
		if end := l.recovery.end.Load(); end != 0 {
			t.Errorf("with as many in flight as usual it ends at %v", time.Duration(end))
		}
		for range 30 {
			if _, ok := k.Acquire(); !ok {
				t.Fatal("refused")
			}
		}
		for _, c := range []struct{ at, end int64 }{{5000, 8000}, {6000, 8000}, {35_000, 8000}, {35_001, 38_001}, {36_000, 38_001}} {
			l.recover(c.at * ms)
			if end, backlog := l.recovery.end.Load(), l.recovery.backlog.Load(); end != c.end*ms || backlog != 60 {
				t.Errorf("at %d ms: until %v, with %d calls, want %d ms and 60", c.at, time.Duration(end), backlog, c.end)
			}
		}
	})
}

// The times of calls say nothing during a recovery, unless more calls pile up, and afterwards if they
// began before a probe measured.
func TestUninformativeTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, k := inFlight(t, Config{}, 20)
		k.takes(10*time.Millisecond, 0, 0)
		l.since.Store(100 * ms)
		queued := func(what string, at, began int64, o Outcome, want bool) {
			t.Helper()
			if got := k.queued(at*ms, began*ms, o); got != want {
				t.Errorf("%s: %t, want %t", what, got, want)
			}
		}
		queued("a call from before a probe", 200, 99, TimedOut, true)
		queued("a call of a probe", 200, 100, TimedOut, false)
		queued("a call that times out ends no standstill", 3000, 1000, TimedOut, false)
		queued("a success ends it", 3000, 1000, Succeeded, true)
		queued("so do the others say nothing", 3100, 3000, TimedOut, true)
		for range 15 {
			if _, ok := k.Acquire(); !ok {
				t.Fatal("refused")
			}
		}
		queued("with a quarter and ten more in flight", 3100, 3000, Succeeded, true)
		p, ok := k.Acquire()
		if !ok {
			t.Fatal("refused")
		}
		queued("with one more", 3100, 3000, Succeeded, false)
		k.Release(p, Failed)
		queued("and from then on", 3100, 3000, Succeeded, false)
	})
}

// Calls of the two latest generations are counted, and a generation lasts five seconds, or as long as
// ten calls.
func TestLongCallsAreNotCounted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ typical, lasts time.Duration }{{time.Millisecond, 5 * time.Second}, {time.Second, 10 * time.Second}} {
		var gs generations
		gs.rotate(0, 2)
		gs.rotate(0, 2)
		first := gs.current.Load()
		first.priorities[Low].Add(3)
		for i, step := range []struct {
			at      time.Duration
			counts  bool
			flights int64
		}{{c.lasts - 1, true, 3}, {c.lasts, true, 7}, {2*c.lasts - 1, true, 11}, {2 * c.lasts, false, 12}} {
			gs.age(int64(step.at), float64(c.typical), 2)
			if i > 0 {
				gs.current.Load().priorities[High].Add(4)
			}
			if gs.counts(first) != step.counts || gs.inFlight() != step.flights || !gs.counts(gs.current.Load()) {
				t.Errorf("typical %v, at %v: counted: %t, %d in flight, want %t, %d", c.typical, step.at, gs.counts(first), gs.inFlight(), step.counts, step.flights)
			}
		}
		if n := gs.current.Load().class(2); n != 0 {
			t.Errorf("%d calls of a class that was added later", n)
		}
	}
}
