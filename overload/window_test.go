package overload

import (
	"math"
	"testing"
	"testing/synctest"
	"time"
)

func TestDefaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ config, want Config }{
		"none set":     {Config{}, Config{10_000, 1000, 32, 3}},
		"all set":      {Config{100, 7, 5, 2}, Config{100, 7, 5, 2}},
		"few in all":   {Config{MaxInFlight: 5}, Config{5, 1, 5, 3}},
		"a tenth":      {Config{MaxInFlight: 41}, Config{41, 5, 32, 3}},
		"out of range": {Config{-1, -1, -1, -1}, Config{10_000, 1000, 32, 3}},
	} {
		l := New(c.config)
		if l.config != c.want || l.PerClient() != c.want.PerClient || l.Stats() != (Stats{Limit: c.want.MaxInFlight}) {
			t.Errorf("%s: %+v, %+v, want %+v", name, l.config, l.Stats(), c.want)
		}
	}
}

// One name is one class, whose priority is that of the first call.
func TestAClassIsAddedOnce(t *testing.T) {
	t.Parallel()
	l := New(Config{})
	a, b := l.Class("a", High), l.Class("b", Low)
	if l.Class("a", Low) != a || l.Class("b", High) != b || a == b || a.priority != High || len(l.classes) != 2 {
		t.Errorf("%d classes: %p, %p", len(l.classes), a, b)
	}
}

// Calls hold their places for those of their priority and of lower ones, also when a generation has
// begun since.
func TestCallsOfTheGenerationBeforeHoldPlaces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{MaxInFlight: 20})
		low, high := l.Class("low", Low), l.Class("high", High)
		for i, c := range []struct {
			class *Class
			calls int
		}{{high, 4}, {low, 3}, {high, 2}, {low, 1}} { // of ten places for low
			if i == 2 {
				l.load.rotate(l.now(), len(l.classes))
			}
			for n := range c.calls + 1 {
				if n == c.calls && i < 3 {
					break
				}
				if _, ok := c.class.Acquire(); ok != (n < c.calls) {
					t.Errorf("call %d of %s is admitted: %t", n, c.class.name, ok)
				}
			}
		}
	})
}

// A client has half of what calls of the priority may use, and at least one; calls that are refused for
// it are counted.
func TestShares(t *testing.T) {
	t.Parallel()
	l := New(Config{MaxInFlight: 100, MinInFlight: 10})
	for _, c := range []struct {
		limit             int64
		low, normal, high int
	}{{100, 25, 37, 50}, {40, 10, 15, 20}, {5, 2, 3, 5}} { // in a probe, the share of 10
		l.limit.Store(c.limit)
		if low, normal, high := l.Share(Low), l.Share(Normal), l.Share(High); low != c.low || normal != c.normal || high != c.high {
			t.Errorf("limit %d: %d, %d, %d", c.limit, low, normal, high)
		}
	}
	if n := New(Config{MaxInFlight: 1}).Share(Low); n != 1 {
		t.Errorf("of one place: %d", n)
	}
	l.Refuse()
	if s := l.Stats(); s.Refused != 1 {
		t.Errorf("%+v", s)
	}
}

// The limit falls to what is in flight and less, the more the slower calls are, and rises slowly while
// calls are refused and fast otherwise, within the floor and Config.MaxInFlight.
func TestTheLimitMoves(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		limit               int64
		slowness            float64
		overloaded, crowded bool
		load                float64
		want                int64
	}{
		"overload, fewer in flight": {100, 6, true, true, 49, 25},
		"overload, more in flight":  {30, 6, true, true, 49, 15},
		"overload, very slow":       {100, 300, true, true, 99, 20},
		"overload, at the floor":    {10, 6, true, true, 49, 8},
		"calls are refused":         {200, 1, false, true, 0, 204},
		"few calls are refused":     {20, 1, false, true, 0, 21},
		"nothing is refused":        {200, 1, false, false, 0, 220},
		"a small limit":             {9, 1, false, false, 0, 10},
		"at the maximum":            {995, 1, false, false, 0, 1000},
	} {
		l := New(Config{MaxInFlight: 1000, MinInFlight: 8})
		l.limit.Store(c.limit)
		if l.moveLimit(c.slowness, c.overloaded, c.crowded, c.load); l.limit.Load() != c.want {
			t.Errorf("%s: %d, want %d", name, l.limit.Load(), c.want)
		}
	}
}

// near compares figures that are computed.
func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-4*math.Abs(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// A window has the mean of the logarithms of all times, so that rare long ones say little, and what may
// be chance by the spread of earlier windows.
func TestAWindowIsMeasured(t *testing.T) {
	t.Parallel()
	l := New(Config{})
	fast, slow := l.Class("fast", High), l.Class("slow", High)
	for range 2 { // the first window makes the times usual
		for range 20 {
			fast.measure(10*ms, Succeeded, true)
			fast.measure(1000*ms, Succeeded, false) // a long call takes no place
			slow.measure(400*ms, Succeeded, true)
		}
		l.measure(1e9)
	}
	const spread = 5.301898 // of the logarithms of fast: half the distance of 10 and 1000 ms, squared
	seen := 1 - (10.0/50)*(10.0/50)
	near(t, "variance", fast.variance, spread*seen)
	near(t, "variance of times that are all alike", slow.variance+1, 1)
	near(t, "rate", l.window.rate, 60*(1-0.8*0.8))
	near(t, "typical", l.window.typical, math.Exp((40*math.Log(100e6)+20*math.Log(400e6))/60))
	for range 20 {
		fast.measure(300*ms, Succeeded, true) // three times the mean
		slow.measure(400*ms, Succeeded, true)
	}
	l.Refuse()
	m := l.measure(2e9)
	near(t, "calls", m.calls, 40)
	near(t, "taken", m.taken, 20*700e6)
	near(t, "excess", m.excess, math.Log(3)/2)
	near(t, "chance", m.chance, 3*math.Sqrt(20*spread*seen)/40)
	near(t, "trend", fast.trend, math.Log(3)*20/30)
	if !m.crowded {
		t.Error("a call was refused")
	}
	fast.measure(50*ms, TimedOut, true) // less than usual: it was given no more time
	if m := l.measure(1e9); m.calls != 0 || m.crowded || m.excess != 0 || math.IsNaN(l.window.typical) {
		t.Errorf("nothing has happened since: %+v, typical %v", m, l.window.typical)
	}
	fast.measure(500*ms, TimedOut, true)
	near(t, "a call that ran out of more time than usual", l.measure(1e9).calls, 1)
	before := math.Log(3) * 20 / 30
	near(t, "trend", fast.trend, before+(math.Log(5)-before)/11)
}

// What follows from a window: when the next one may end, how far the limit may fall, and how many calls
// are usual.
func TestConclusionsOfAWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct{ taken, next time.Duration }{
			{time.Millisecond, 100 * time.Millisecond}, {300 * time.Millisecond, 300 * time.Millisecond}, {5 * time.Second, time.Second},
		} {
			l, _ := inFlight(t, Config{}, 0)
			l.adjust(7000*ms, measurement{length: 1e9, calls: 10, taken: 10 * float64(c.taken)})
			if next := time.Duration(l.due.Load() - 7000*ms); next != c.next {
				t.Errorf("calls take %v: the next window ends in %v", c.taken, next)
			}
		}
		for _, c := range []struct{ rate, floor, few float64 }{{1, 4, 1}, {9, 18, 5}, {100, 32, 8}} {
			l, _ := inFlight(t, Config{}, 0)
			l.window.rate = c.rate
			l.adjust(7000*ms, measurement{length: 1e9, calls: 10, taken: 1e9})
			if got := float64(l.floor.Load()); got != c.floor || l.few() != c.few {
				t.Errorf("%v calls in a second: floor %v, few %v", c.rate, got, l.few())
			}
		}
		for name, c := range map[string]struct {
			m     measurement
			usual float64 // in flight; 40 before
		}{
			"calm": {measurement{taken: 60e9}, 41}, "fewer": {measurement{taken: 20e9}, 39}, "crowded": {measurement{taken: 60e9, crowded: true}, 40},
			"slow": {measurement{taken: 60e9, excess: math.Log(1.74)}, 40}, "by chance": {measurement{taken: 60e9, excess: math.Log(1.74), chance: 0.1}, 41},
		} {
			l, k := inFlight(t, Config{}, 0)
			k.usualInFlight, k.seen.taken = 40, c.m.taken
			c.m.length, c.m.calls = 1e9, 100
			l.adjust(7000*ms, c.m)
			near(t, name+": usually in flight", k.usualInFlight, c.usual)
			near(t, name+": usually in flight, and a margin", float64(l.recovery.usual.Load()), 10+2*c.usual)
			near(t, name+": reserved", float64(k.reserved.Load()), 2*c.usual)
		}
	})
}

// Calls that begin to be slow are overload when more are in flight than ended by Little's law, and no
// more than are admitted anyway are none.
func TestOverloadConditions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			calls int     // in flight
			taken float64 // seconds in flight, of a window of one second
			slow  float64
			want  int64 // limit; 1000 before
		}{
			"slow": {100, 100, 4, 75}, "not so slow": {100, 100, 2.9, 1000}, "as usual": {100, 10, 1, 1000},
			"begins to be slow, and more in flight": {100, 50, 2, 75}, "begins to be slow, none measured": {100, 0, 2, 1000},
			"not slow, and more in flight": {100, 25, 1.7, 1000}, "slow, few in flight": {32, 32, 4, 1000},
		} {
			l, _ := inFlight(t, Config{MaxInFlight: 1000}, c.calls)
			l.window.rate = 100
			l.adjust(7000*ms, measurement{length: 1e9, calls: 100, taken: c.taken * 1e9, excess: math.Log(c.slow)})
			if got := l.limit.Load(); got != c.want {
				t.Errorf("%s: limit %d, want %d", name, got, c.want)
			}
		}
	})
}

// A window with ten calls ends after a tenth of a second, one with fewer after two seconds.
func TestAWindowEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, k := inFlight(t, Config{}, 1)
		end := func(after time.Duration, calls int, ends bool) {
			t.Helper()
			time.Sleep(after)
			for range calls {
				k.measure(ms, Succeeded, true)
			}
			before := l.window.began
			l.closeWindow(l.now())
			if got := l.window.began != before; got != ends {
				t.Errorf("at %v: the window ends: %t", time.Duration(l.now()), got)
			}
		}
		end(99*time.Millisecond, 10, false)
		end(time.Millisecond, 0, true)
		end(100*time.Millisecond, 9, false)
		end(9*time.Millisecond, 1, false) // which was looked at a moment ago
		end(time.Millisecond, 0, true)
		end(100*time.Millisecond, 1, false)
		end(1899*time.Millisecond, 0, false)
		end(10*time.Millisecond, 0, true)
		end(1999*time.Millisecond, 0, false)
		end(10*time.Millisecond, 0, true) // with no call at all
		end(50*time.Millisecond, 10, false)
		end(50*time.Millisecond, 0, true)
	})
}

// After two seconds in which no call was made or in flight the limit is as at the beginning.
func TestSilenceResetsTheLimit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		calls   int
		silence time.Duration
		want    int64
	}{"silence": {0, 2 * time.Second, 10_000}, "not for long": {0, 1999 * time.Millisecond, 50}, "a call in flight": {1, 2 * time.Second, 50}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l, _ := inFlight(t, Config{}, c.calls)
				time.Sleep(3 * time.Second)
				l.closeWindow(l.now())
				l.limit.Store(50)
				l.probe.phase = draining
				time.Sleep(c.silence)
				l.closeWindow(l.now())
				if got := l.limit.Load(); got != c.want || (l.probe.phase == noProbe) != (c.want != 50) {
					t.Errorf("limit %d, phase %d", got, l.probe.phase)
				}
			})
		})
	}
}
