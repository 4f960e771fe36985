package overload

import (
	"math"
	"testing"
	"testing/synctest"
	"time"
)

const ms = int64(time.Millisecond)

// inFlight makes a limiter with a class that has so many calls in flight. Its time stands still: run
// it in a synctest bubble.
func inFlight(t *testing.T, c Config, calls int) (*Limiter, *Class) {
	t.Helper()
	l := New(c)
	k := l.Class("calls", High)
	for range calls {
		if _, ok := k.Acquire(); !ok {
			t.Fatal("refused")
		}
	}
	return l, k
}

// takes sets the usual time of calls of the class, and what so many took in the latest window.
func (c *Class) takes(usual time.Duration, calls float64, latest time.Duration) {
	c.usual.Store(math.Float64bits(math.Log(float64(usual))))
	c.seen = summary{calls: calls, mean: math.Log(float64(latest))}
}

func (c *Class) usually() time.Duration {
	return time.Duration(math.Exp(c.usualLog())).Round(100 * time.Microsecond)
}

// After a second of pressure few calls are admitted until the earlier ones have ended, and for a window
// more, whose times are believed. The next probe comes ten seconds later.
func TestProbeAdmitsFewCallsFirst(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		takes   time.Duration // in the probe; 10 ms is usual
		calls   float64       // that ended in it
		limit   int64         // afterwards; 100 before
		usually time.Duration
	}{
		"slower for good":     {50 * time.Millisecond, 20, 10_000, 50 * time.Millisecond},
		"overload":            {12 * time.Millisecond, 20, 100, 12 * time.Millisecond},
		"few calls to tell":   {40 * time.Millisecond, 5, 100, 20 * time.Millisecond},
		"no call to tell":     {50 * time.Millisecond, 0, 100, 10 * time.Millisecond},
		"more calls are none": {20 * time.Millisecond, 200, 100, 20 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l, k := inFlight(t, Config{MinInFlight: 8}, 60)
				l.limit.Store(100)
				m := measurement{length: 1e9, calls: 10} // so that 60 in flight end within 6 s
				step := func(at int64, pressure, probes bool, limit int64) {
					t.Helper()
					if got := l.runProbe(at*ms, m, pressure); got != probes || l.limit.Load() != limit {
						t.Errorf("at %d ms: a probe: %t, limit %d, want %t, %d", at, got, l.limit.Load(), probes, limit)
					}
				}
				step(500, true, false, 100)
				step(1000, false, false, 100) // which ends the pressure
				step(2000, true, false, 100)
				step(2999, true, false, 100)
				step(3000, true, true, 2) // a quarter of 8
				step(8999, false, true, 2)
				if l.since.Load() != 0 {
					t.Error("calls are believed before earlier ones have ended")
				}
				step(9000, false, true, 2)
				if l.since.Load() != 9000*ms {
					t.Errorf("calls since %v are believed, want 9 s", time.Duration(l.since.Load()))
				}
				k.takes(10*time.Millisecond, c.calls, c.takes)
				step(10_000, true, true, c.limit)
				if k.usually() != c.usually {
					t.Errorf("%v are usual, want %v", k.usually(), c.usually)
				}
				l.limit.Store(100)
				step(19_999, true, false, 100)
				step(20_000, true, true, 2)
			})
		})
	}
}

// A service whose calls take long is probed more rarely, and a limit below the few is not raised.
func TestProbesOfSlowServicesAreRare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, _ := inFlight(t, Config{}, 0)
		l.window.typical = float64(time.Second)
		l.limit.Store(5)
		m := measurement{length: 1e9, calls: 10}
		for _, c := range []struct {
			at     int64
			probes bool
		}{
			{1000, false}, {2000, true}, {2001, true}, {2002, true}, {61_999, false}, {62_002, true},
		} {
			if got := l.runProbe(c.at*ms, m, true); got != c.probes || l.limit.Load() != 5 {
				t.Errorf("at %d ms: a probe: %t, limit %d", c.at, got, l.limit.Load())
			}
		}
	})
}

// Unusual times become usual slowly: shorter ones faster than longer ones, and longer ones only while
// few calls are in flight.
func TestUsualTimesFollow(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		calls  float64
		latest time.Duration
		idle   bool
		want   float64 // share of the distance, in logarithms
	}{
		"faster": {20, 10 * time.Millisecond, false, 0.05}, "faster, idle": {20, 10 * time.Millisecond, true, 0.05},
		"slower": {20, 1000 * time.Millisecond, false, 0}, "slower, idle": {20, 1000 * time.Millisecond, true, 0.02},
		"no calls": {0, 10 * time.Millisecond, true, 0},
	} {
		k := New(Config{}).Class("calls", High)
		k.takes(100*time.Millisecond, c.calls, c.latest)
		before := k.excess()
		k.learn(c.idle)
		if got := 1 - k.excess()/before; math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v of the distance, want %v", name, got, c.want)
		}
	}
}

// A class may always have a few calls in flight, and twice as many as usual while its calls are not
// slow.
func TestReservedPlaces(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		slower, usual float64
		want          int64
	}{
		"as usual": {1, 20, 40}, "half the tolerance": {1.7, 20, 40}, "slow": {1.75, 20, 8}, "few": {1, 3, 8},
	} {
		k := New(Config{}).Class("calls", High)
		k.trend, k.usualInFlight = math.Log(c.slower), c.usual
		if k.reserve(8); k.reserved.Load() != c.want {
			t.Errorf("%s: %d places, want %d", name, k.reserved.Load(), c.want)
		}
	}
}

// As many calls of a class are admitted as it has places, whatever the limit is, those that began in the
// generation before included.
func TestReservedPlacesAreAdmitted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, other := inFlight(t, Config{}, 0)
		k := l.Class("reserved", Low)
		l.limit.Store(1)
		k.reserved.Store(3)
		if _, ok := other.Acquire(); !ok {
			t.Fatal("the limit admits one call")
		}
		for i, want := range []bool{true, true, true, false} {
			if i == 2 {
				l.load.rotate(l.now(), len(l.classes))
			}
			if _, ok := k.Acquire(); ok != want {
				t.Errorf("call %d is admitted: %t", i, ok)
			}
		}
		if s := l.Stats(); s.InFlight != 4 || s.Refused != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// Calls that were refused or cancelled say nothing about how long calls take.
func TestFailedCallsAreNotMeasured(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, k := inFlight(t, Config{}, 0)
		for _, c := range []struct {
			outcome Outcome
			calls   int64
			taken   time.Duration
		}{{Failed, 0, 0}, {Succeeded, 1, 10 * time.Millisecond}, {TimedOut, 2, 20 * time.Millisecond}} {
			p, _ := k.Acquire()
			time.Sleep(10 * time.Millisecond)
			k.Release(p, c.outcome)
			if calls, taken := k.samples.calls.Load(), time.Duration(k.samples.taken.Load()); calls != c.calls || taken != c.taken || l.Stats().InFlight != 0 {
				t.Errorf("outcome %d: %d calls of %v, %+v", c.outcome, calls, taken, l.Stats())
			}
		}
	})
}
