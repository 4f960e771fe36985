package overload_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/overload"
)

// R94: when a dependency comes back, the calls that waited for it say nothing about those
// that come afterwards, of which none is refused.
func TestNoOverloadAfterAStandstill(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		places  int
		takes   time.Duration
		rate    int
		timeout time.Duration
	}{
		{2, 2 * time.Millisecond, 200, time.Minute}, {10, 2 * time.Millisecond, 200, time.Minute}, {100, 2 * time.Millisecond, 200, time.Minute},
		{200, 50 * time.Millisecond, 1000, time.Minute}, {100, 2 * time.Millisecond, 200, 2 * time.Second},
	} {
		t.Run(fmt.Sprintf("%d places, %d calls in a second, timeout %v", c.places, c.rate, c.timeout), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newServer(c.places, c.takes, overload.Config{})
				s.timeout = c.timeout
				s.load(s.class, c.rate, 3*time.Second)
				for range c.places {
					s.places <- struct{}{} // nothing goes on
				}
				done := make(chan *result)
				go func() { done <- s.load(s.class, c.rate, 5*time.Second) }()
				time.Sleep(5 * time.Second)
				for range c.places {
					<-s.places
				}
				r := s.load(s.class, c.rate, 4*time.Second)
				<-done
				if n := r.sent - len(r.latency); n > 0 {
					t.Errorf("%d of %d refused", n, r.sent)
				}
			})
		})
	}
}

// A call that takes long by itself is no standstill: shedding goes on.
func TestSlowClientsDoNotSwitchTheLimiterOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(8, 10*time.Millisecond, overload.Config{})
		s.load(s.class, 400, 2*time.Second)
		upload := s.limiter.Class("upload", overload.Normal)
		stop := make(chan struct{})
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				for {
					if began, ok := upload.Acquire(); ok {
						<-time.After(time.Duration(600+100*i) * time.Millisecond)
						upload.Release(began, overload.Succeeded)
					}
					select {
					case <-stop:
						return
					case <-time.After(600 * time.Millisecond):
					}
				}
			})
		}
		r := s.load(s.class, 2400, time.Minute)
		close(stop)
		all.Wait()
		if p99 := r.p99(); p99 > 200*time.Millisecond {
			t.Errorf("p99 is %v at three times the capacity", p99)
		}
	})
}
