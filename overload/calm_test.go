package overload_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/overload"
)

// Below capacity nothing is refused, however many are in flight by nature.
func TestNothingIsRefusedBelowCapacity(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(1000, time.Second, overload.Config{})
		if r := s.load(s.class, 800, 20*time.Second); len(r.latency) != r.sent {
			t.Errorf("%d of %d refused", r.sent-len(r.latency), r.sent)
		}
		slow := newServer(1000, time.Millisecond, overload.Config{})
		slow.load(slow.class, 20, 5*time.Second)
		slow.takes = 300 * time.Millisecond // the database has become slow
		if r := slow.load(slow.class, 20, 5*time.Second); len(r.latency) != r.sent {
			t.Errorf("slow by nature, 6 in flight: %d of %d refused", r.sent-len(r.latency), r.sent)
		}
	})
}

// Times that differ a hundredfold and more by nature are no overload, but for a moment.
func TestUnevenTimesAreNoOverload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct{ rate, slowPercent, fast, slow int }{
			"cache misses": {600, 5, 5, 1000}, "rare and very long": {1000, 1, 10, 5000}, "half and half": {300, 50, 2, 200},
		} {
			l := overload.New(overload.Config{})
			k := l.Class("normal", overload.Normal)
			random := rand.New(rand.NewPCG(5, 6))
			var all sync.WaitGroup
			refused, sent := 0, 0
			for end := time.Now().Add(time.Minute); time.Now().Before(end); sent++ {
				<-time.After(time.Duration(random.ExpFloat64() * float64(time.Second) / float64(c.rate)))
				takes := c.fast
				if random.IntN(100) < c.slowPercent {
					takes = c.slow
				}
				began, ok := k.Acquire()
				if !ok {
					refused++
					continue
				}
				all.Go(func() {
					<-time.After(time.Duration(takes) * time.Millisecond)
					k.Release(began, overload.Succeeded)
				})
			}
			all.Wait()
			t.Logf("%s: %d of %d refused, limit %d", name, refused, sent, l.Stats().Limit)
			if refused*50 > sent { // the first calls to end are short ones, which look usual
				t.Errorf("%s: %d of %d refused", name, refused, sent)
			}
		}
	})
}

// Calls that give up at once do not make others look slow, neither then nor afterwards.
func TestShortTimeoutsAreNotMeasured(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(1000, 50*time.Millisecond, overload.Config{})
		s.load(s.class, 1000, 3*time.Second)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 50_000 {
				<-time.After(100 * time.Microsecond)
				if began, ok := s.class.Acquire(); ok {
					s.class.Release(began, overload.TimedOut)
				}
			}
		}()
		during := s.load(s.class, 1000, 5*time.Second)
		<-done
		after := s.load(s.class, 1000, 5*time.Second)
		for when, r := range map[string]*result{"during": during, "after": after} {
			if len(r.latency) != r.sent {
				t.Errorf("%s: %d of %d refused", when, r.sent-len(r.latency), r.sent)
			}
		}
	})
}

// After a silence nothing is left of an overload.
func TestSilenceEndsOverload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for after := range 12 { // also during probes
			s := newServer(8, 10*time.Millisecond, overload.Config{})
			s.load(s.class, 200, 2*time.Second)
			s.load(s.class, 2400, 10*time.Second+time.Duration(after)*100*time.Millisecond)
			time.Sleep(time.Minute)
			var permits []overload.Permit
			for range 100 {
				if p, ok := s.class.Acquire(); ok {
					permits = append(permits, p)
				}
			}
			if len(permits) < 100 {
				t.Errorf("%d of 100 calls admitted", len(permits))
			}
			for _, p := range permits {
				s.class.Release(p, overload.Failed)
			}
		}
	})
}
