package overload_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/overload"
)

// R93: a slow database has calls refused that wait for it, and no others, whatever their
// priority.
func TestSlowDependencyRefusesOnlyDependentCalls(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]overload.Priority{"low": overload.Low, "normal": overload.Normal, "high": overload.High} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newServer(10, 5*time.Millisecond, overload.Config{}) // a pool of ten connections
				waits := s.limiter.Class("waits", overload.High)
				memory := newServer(1000, time.Millisecond, overload.Config{})
				memory.limiter, memory.class = s.limiter, s.limiter.Class("memory", p)
				both := func(d time.Duration) (slow, fast *result) {
					var all sync.WaitGroup
					all.Go(func() { slow = s.load(waits, 300, d) })
					all.Go(func() { fast = memory.load(memory.class, 50, d) })
					all.Wait()
					return slow, fast
				}
				both(3 * time.Second)
				s.takes = 200 * time.Millisecond
				slow, fast := both(30 * time.Second)
				if n := fast.sent - len(fast.latency); n > 0 {
					t.Errorf("%d of %d calls that need no database refused", n, fast.sent)
				}
				if len(slow.latency) == slow.sent {
					t.Error("no call refused at six times the capacity of the database")
				}
			})
		})
	}
}

// A call gives way to those of a higher priority, never the other way round.
func TestPriorities(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(8, 10*time.Millisecond, overload.Config{})
		high, low := s.limiter.Class("high", overload.High), s.limiter.Class("low", overload.Low)
		s.load(high, 200, 2*time.Second)
		s.load(low, 200, 2*time.Second)
		var important, rest *result
		var all sync.WaitGroup
		all.Go(func() { important = s.load(high, 400, 20*time.Second) })
		all.Go(func() { rest = s.load(low, 2000, 20*time.Second) })
		all.Wait()
		if lost := important.sent - len(important.latency); lost*100 > important.sent {
			t.Errorf("%d of %d important calls refused", lost, important.sent)
		}
		if served := len(rest.latency); served < 5000 {
			t.Errorf("%d of the rest served, want what is left of 800 in a second", served)
		}
	})
}

// However much of lower priority is under way, a higher one has its place.
func TestNoCallIsRefusedForALowerOne(t *testing.T) {
	t.Parallel()
	l := overload.New(overload.Config{MaxInFlight: 20})
	low, normal, high := l.Class("low", overload.Low), l.Class("normal", overload.Normal), l.Class("high", overload.High)
	for _, c := range []struct {
		class    *overload.Class
		admitted int
	}{{low, 10}, {high, 5}, {normal, 5}, {high, 0}, {normal, 0}, {low, 0}} { // 20 in all, of 15 and 10 at most
		n := 0
		for range min(20, max(c.admitted, 1)) {
			if _, ok := c.class.Acquire(); ok {
				n++
			}
		}
		if n != c.admitted {
			t.Errorf("%d let in, want %d", n, c.admitted)
		}
	}
}

// Calls of a class that are many by nature are not refused either.
func TestASlowDependencyLeavesABusyClassAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(10, 5*time.Millisecond, overload.Config{})
		waits := s.limiter.Class("waits", overload.High)
		memory := newServer(1000, 20*time.Millisecond, overload.Config{})
		memory.limiter, memory.class = s.limiter, s.limiter.Class("memory", overload.Low)
		var all sync.WaitGroup
		all.Go(func() { memory.load(memory.class, 1000, 10*time.Second) })
		s.load(waits, 300, 10*time.Second)
		all.Wait()
		s.takes = 200 * time.Millisecond
		all.Go(func() { s.load(waits, 300, 30*time.Second) })
		fast := memory.load(memory.class, 1000, 30*time.Second)
		all.Wait()
		if n := fast.sent - len(fast.latency); n*100 > fast.sent {
			t.Errorf("%d of %d calls that need no database refused", n, fast.sent)
		}
	})
}

// Classes that wait for the same thing are probed together: what each may always have in
// flight would be overload in sum.
func TestOverloadOfManyClassesIsNeverUsual(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(2, 5*time.Millisecond, overload.Config{})
		both := func(perSecond int, d time.Duration) (worst time.Duration) {
			var all sync.WaitGroup
			results := make([]*result, 30)
			for i := range results {
				c := s.limiter.Class(fmt.Sprint("class", i), overload.Normal)
				all.Go(func() { results[i] = s.load(c, perSecond/30, d) })
			}
			all.Wait()
			for _, r := range results {
				worst = max(worst, r.p99())
			}
			return worst
		}
		both(120, 10*time.Second)
		both(1200, 30*time.Second)
		if p99 := both(1200, 20*time.Second); p99 > 1500*time.Millisecond { // eight of each class take 600 ms
			t.Errorf("p99 is %v", p99)
		}
	})
}
