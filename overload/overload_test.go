package overload_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/overload"
)

// Fault 28: at three times the capacity for a minute, goodput stays, what is accepted takes
// no longer than twice what it takes at capacity, and two seconds later it is over, but
// for what random arrivals at 90 % of the capacity meet.
func TestFault28Overload(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		places int
		takes  time.Duration
	}{{8, 10 * time.Millisecond}, {2, 4 * time.Millisecond}, {64, 100 * time.Millisecond}} {
		t.Run(fmt.Sprintf("%d places for %v", c.places, c.takes), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newServer(c.places, c.takes, overload.Config{})
				capacity := c.places * int(time.Second/c.takes)
				s.load(s.class, capacity/4, 2*time.Second)
				full := s.load(s.class, capacity, time.Minute)
				over := s.load(s.class, 3*capacity, time.Minute)
				goodput := float64(len(over.latency)) / 60 / float64(capacity)
				t.Logf("goodput %.1f %%, p99 %v at capacity and %v above, limit %d", goodput*100, full.p99(), over.p99(), s.limiter.Stats().Limit)
				if goodput < 0.9 || over.p99() > 2*full.p99() {
					t.Error("not within the bounds")
				}
				time.Sleep(2 * time.Second)
				after := s.load(s.class, capacity*9/10, 5*time.Second)
				if n := after.sent - len(after.latency); n*100 > after.sent {
					t.Errorf("%d of %d refused after it was over", n, after.sent)
				}
			})
		})
	}
}

// An hour of overload does not become the usual.
func TestOverloadIsNeverUsual(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(2, 20*time.Millisecond, overload.Config{})
		s.load(s.class, 50, 2*time.Second)
		s.load(s.class, 150, time.Hour)
		late := s.load(s.class, 150, time.Minute)
		t.Logf("after an hour: p99 %v, limit %d", late.p99(), s.limiter.Stats().Limit)
		if late.p99() > 1200*time.Millisecond { // 32 in flight take 320 ms, and three times that is tolerated
			t.Errorf("p99 is %v", late.p99())
		}
	})
}

// What has become slower for good is not refused for more than two seconds.
func TestANewUsualIsLearnt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(1000, 10*time.Millisecond, overload.Config{})
		s.load(s.class, 500, 5*time.Second)
		s.takes = 100 * time.Millisecond
		s.load(s.class, 500, 2*time.Second)
		if r := s.load(s.class, 500, 5*time.Second); len(r.latency) != r.sent {
			t.Errorf("%d of %d refused", r.sent-len(r.latency), r.sent)
		}
	})
}

// What has become faster for good is protected at its new speed.
func TestAFasterUsualIsLearnt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(16, 500*time.Millisecond, overload.Config{})
		s.load(s.class, 25, 10*time.Second)
		s.takes = 20 * time.Millisecond
		s.load(s.class, 250, 20*time.Second)
		s.load(s.class, 2*800, 10*time.Second)
		if r := s.load(s.class, 2*800, time.Minute); r.p99() > 200*time.Millisecond {
			t.Errorf("p99 is %v", r.p99())
		}
	})
}

func TestMaxInFlight(t *testing.T) {
	t.Parallel()
	l := overload.New(overload.Config{MaxInFlight: 3})
	k := l.Class("high", overload.High)
	var in []overload.Permit
	for range 5 {
		if e, ok := k.Acquire(); ok {
			in = append(in, e)
		}
	}
	if s := l.Stats(); len(in) != 3 || s.InFlight != 3 || s.Refused != 2 {
		t.Errorf("%d let in: %+v", len(in), s)
	}
	for _, e := range in {
		k.Release(e, overload.Failed)
	}
	if _, ok := k.Acquire(); !ok || l.Stats().InFlight != 1 {
		t.Errorf("%+v", l.Stats())
	}
}

func BenchmarkAcquireRelease(b *testing.B) {
	k := overload.New(overload.Config{}).Class("high", overload.High)
	b.ReportAllocs()
	for b.Loop() {
		e, _ := k.Acquire()
		k.Release(e, overload.Succeeded)
	}
}
