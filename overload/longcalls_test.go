package overload_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/overload"
)

// Long calls that are under way do not keep others out once a slow spell is over, be
// they of another class, such as streams, or of the same, such as long polls.
func TestLongCallsDoNotKeepOthersOut(t *testing.T) {
	t.Parallel()
	for _, streams := range []string{"stream", "normal"} {
		t.Run(streams, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newServer(1000, 10*time.Millisecond, overload.Config{})
				s.load(s.class, 10, 10*time.Second)
				long := s.limiter.Class(streams, overload.Normal)
				var all sync.WaitGroup
				for range 200 {
					all.Go(func() {
						if began, ok := long.Acquire(); ok {
							<-time.After(15 * time.Minute)
							long.Release(began, overload.Succeeded)
						}
					})
				}
				s.load(s.class, 10, 10*time.Second)
				s.takes = 2 * time.Second
				s.load(s.class, 50, 10*time.Second)
				time.Sleep(3 * time.Second) // no other call is under way
				s.takes = 10 * time.Millisecond
				r := s.load(s.class, 10, 10*time.Minute)
				t.Logf("%d of %d served, limit %d", len(r.latency), r.sent, s.limiter.Stats().Limit)
				if len(r.latency) < r.sent*98/100 {
					t.Errorf("%d of %d served", len(r.latency), r.sent)
				}
				go s.load(s.class, 10, 5*time.Minute) // while they end
				all.Wait()
				over := newServer(1, 10*time.Millisecond, overload.Config{})
				over.limiter, over.class = s.limiter, s.class
				if r := over.load(over.class, 300, time.Minute); r.p99() > 3*time.Second {
					t.Errorf("p99 is %v at three times the capacity, after the long calls", r.p99())
				}
			})
		})
	}
}

// A service that completes few calls in a second is protected as one that completes many.
func TestASlowServiceIsProtected(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		places int
		takes  time.Duration
		rate   int
	}{
		"one after the other": {1, 500 * time.Millisecond, 10}, "two at once": {2, time.Second, 10}, "slower still": {1, 2 * time.Second, 10},
		"many at once": {50, time.Second, 150},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newServer(c.places, c.takes, overload.Config{})
				capacity := float64(c.places) / c.takes.Seconds()
				s.load(s.class, max(1, c.rate/10), 10*time.Second)
				var before sync.WaitGroup // what it takes to notice, and to work off what has piled up
				before.Go(func() { s.load(s.class, c.rate, 3*time.Minute) })
				time.Sleep(3 * time.Minute)
				r := s.load(s.class, c.rate, 10*time.Minute)
				before.Wait()
				goodput := float64(len(r.latency)) / 600 / capacity
				t.Logf("%d of %d served (%.0f %% of the capacity), p99 %v, limit %d", len(r.latency), r.sent, 100*goodput, r.p99(), s.limiter.Stats().Limit)
				if goodput < 0.85 || r.p99() > 10*c.takes {
					t.Errorf("goodput %.0f %%, p99 %v", 100*goodput, r.p99())
				}
			})
		})
	}
}
