package overload_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/overload"
)

// server works on so many calls at once, each for a while; further ones wait.
type server struct {
	places  chan struct{}
	takes   time.Duration
	limiter *overload.Limiter
	kind    *overload.Kind
}

func newServer(places int, takes time.Duration, c overload.Config) *server {
	l := overload.New(c)
	return &server{places: make(chan struct{}, places), takes: takes, limiter: l, kind: l.Kind("normal", overload.Normal)}
}

func (s *server) serve(k *overload.Kind) bool {
	began, ok := k.Enter()
	if !ok {
		return false
	}
	defer k.Leave(began, overload.Worked)
	s.places <- struct{}{}
	<-time.After(s.takes)
	<-s.places
	return true
}

// result is what came of the calls of one kind.
type result struct {
	mu      sync.Mutex
	sent    int
	latency []time.Duration // of those that were served
}

func (r *result) p99() time.Duration {
	slices.Sort(r.latency)
	if len(r.latency) == 0 {
		return 0
	}
	return r.latency[len(r.latency)*99/100]
}

// load sends calls at random moments (Poisson), whatever becomes of them, for a while.
func (s *server) load(k *overload.Kind, perSecond int, d time.Duration) *result {
	r := new(result)
	var all sync.WaitGroup
	random := rand.New(rand.NewPCG(1, 2))
	for end := time.Now().Add(d); time.Now().Before(end); {
		<-time.After(time.Duration(random.ExpFloat64() * float64(time.Second) / float64(perSecond)))
		r.sent++
		all.Go(func() {
			began := time.Now()
			if s.serve(k) {
				r.mu.Lock()
				r.latency = append(r.latency, time.Since(began))
				r.mu.Unlock()
			}
		})
	}
	all.Wait()
	return r
}

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
				s.load(s.kind, capacity/4, 2*time.Second)
				full := s.load(s.kind, capacity, time.Minute)
				over := s.load(s.kind, 3*capacity, time.Minute)
				goodput := float64(len(over.latency)) / 60 / float64(capacity)
				t.Logf("goodput %.1f %%, p99 %v at capacity and %v above, limit %d", goodput*100, full.p99(), over.p99(), s.limiter.Stats().Limit)
				if goodput < 0.9 || over.p99() > 2*full.p99() {
					t.Error("not within the bounds")
				}
				time.Sleep(2 * time.Second)
				after := s.load(s.kind, capacity*9/10, 5*time.Second)
				if n := after.sent - len(after.latency); n*100 > after.sent {
					t.Errorf("%d of %d refused after it was over", n, after.sent)
				}
			})
		})
	}
}

// Below capacity nothing is refused, however many are in flight by nature.
func TestNothingIsRefusedBelowCapacity(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(1000, time.Second, overload.Config{})
		if r := s.load(s.kind, 800, 20*time.Second); len(r.latency) != r.sent {
			t.Errorf("%d of %d refused", r.sent-len(r.latency), r.sent)
		}
		slow := newServer(1000, time.Millisecond, overload.Config{})
		slow.load(slow.kind, 20, 5*time.Second)
		slow.takes = 300 * time.Millisecond // the database has become slow
		if r := slow.load(slow.kind, 20, 5*time.Second); len(r.latency) != r.sent {
			t.Errorf("slow by nature, 6 in flight: %d of %d refused", r.sent-len(r.latency), r.sent)
		}
	})
}

// An hour of overload does not become the usual.
func TestOverloadIsNeverUsual(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(2, 20*time.Millisecond, overload.Config{})
		s.load(s.kind, 50, 2*time.Second)
		s.load(s.kind, 150, time.Hour)
		late := s.load(s.kind, 150, time.Minute)
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
		s.load(s.kind, 500, 5*time.Second)
		s.takes = 100 * time.Millisecond
		s.load(s.kind, 500, 2*time.Second)
		if r := s.load(s.kind, 500, 5*time.Second); len(r.latency) != r.sent {
			t.Errorf("%d of %d refused", r.sent-len(r.latency), r.sent)
		}
	})
}

// R93: a slow database has calls refused that wait for it, and no others, whatever their
// priority.
func TestASlowDependencyRefusesOnlyTheCallsThatNeedIt(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]overload.Priority{"low": overload.Low, "normal": overload.Normal, "high": overload.High} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newServer(10, 5*time.Millisecond, overload.Config{}) // a pool of ten connections
				waits := s.limiter.Kind("waits", overload.High)
				memory := newServer(1000, time.Millisecond, overload.Config{})
				memory.limiter, memory.kind = s.limiter, s.limiter.Kind("memory", p)
				both := func(d time.Duration) (slow, fast *result) {
					var all sync.WaitGroup
					all.Go(func() { slow = s.load(waits, 300, d) })
					all.Go(func() { fast = memory.load(memory.kind, 50, d) })
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

// R94: when a dependency comes back, the calls that waited for it say nothing about those
// that come afterwards, of which none is refused.
func TestNoOverloadAfterAStandstill(t *testing.T) {
	t.Parallel()
	for _, places := range []int{2, 10, 100} {
		t.Run(fmt.Sprint(places, " places"), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newServer(places, 2*time.Millisecond, overload.Config{})
				s.load(s.kind, 200, 3*time.Second)
				for range places {
					s.places <- struct{}{} // nothing goes on
				}
				done := make(chan *result)
				go func() { done <- s.load(s.kind, 200, 9*time.Second) }()
				time.Sleep(5 * time.Second)
				for range places {
					<-s.places
				}
				r := <-done
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
		s.load(s.kind, 400, 2*time.Second)
		upload := s.limiter.Kind("upload", overload.Normal)
		stop := make(chan struct{})
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				for {
					if began, ok := upload.Enter(); ok {
						<-time.After(time.Duration(600+100*i) * time.Millisecond)
						upload.Leave(began, overload.Worked)
					}
					select {
					case <-stop:
						return
					case <-time.After(600 * time.Millisecond):
					}
				}
			})
		}
		r := s.load(s.kind, 2400, time.Minute)
		close(stop)
		all.Wait()
		if p99 := r.p99(); p99 > 200*time.Millisecond {
			t.Errorf("p99 is %v at three times the capacity", p99)
		}
	})
}

// A call gives way to those of a higher priority, never the other way round.
func TestPriorities(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(8, 10*time.Millisecond, overload.Config{})
		high, low := s.limiter.Kind("high", overload.High), s.limiter.Kind("low", overload.Low)
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
	low, normal, high := l.Kind("low", overload.Low), l.Kind("normal", overload.Normal), l.Kind("high", overload.High)
	for _, c := range []struct {
		kind *overload.Kind
		room int
	}{{low, 10}, {high, 5}, {normal, 5}, {high, 0}, {normal, 0}, {low, 0}} { // 20 in all, of 15 and 10 at most
		n := 0
		for range min(20, max(c.room, 1)) {
			if _, ok := c.kind.Enter(); ok {
				n++
			}
		}
		if n != c.room {
			t.Errorf("%d let in, want %d", n, c.room)
		}
	}
}

// Times that differ a hundredfold and more by nature are no overload, but for a moment.
func TestUnevenTimesAreNoOverload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct{ rate, slowPercent, fast, slow int }{
			"cache misses": {600, 5, 5, 1000}, "rare and very long": {1000, 1, 10, 5000}, "half and half": {300, 50, 2, 200},
		} {
			l := overload.New(overload.Config{})
			k := l.Kind("normal", overload.Normal)
			random := rand.New(rand.NewPCG(5, 6))
			var all sync.WaitGroup
			refused, sent := 0, 0
			for end := time.Now().Add(time.Minute); time.Now().Before(end); sent++ {
				<-time.After(time.Duration(random.ExpFloat64() * float64(time.Second) / float64(c.rate)))
				takes := c.fast
				if random.IntN(100) < c.slowPercent {
					takes = c.slow
				}
				began, ok := k.Enter()
				if !ok {
					refused++
					continue
				}
				all.Go(func() {
					<-time.After(time.Duration(takes) * time.Millisecond)
					k.Leave(began, overload.Worked)
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

// Calls that give up at once do not make others look slow.
func TestImpatientCallsSayNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer(1000, 50*time.Millisecond, overload.Config{})
		s.load(s.kind, 1000, 3*time.Second)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 50_000 {
				<-time.After(100 * time.Microsecond)
				if began, ok := s.kind.Enter(); ok {
					s.kind.Leave(began, overload.TimedOut)
				}
			}
		}()
		if r := s.load(s.kind, 1000, 5*time.Second); len(r.latency) != r.sent {
			t.Errorf("%d of %d refused", r.sent-len(r.latency), r.sent)
		}
		<-done
	})
}

func TestMaxInFlight(t *testing.T) {
	t.Parallel()
	l := overload.New(overload.Config{MaxInFlight: 3})
	k := l.Kind("high", overload.High)
	var in []overload.Entered
	for range 5 {
		if e, ok := k.Enter(); ok {
			in = append(in, e)
		}
	}
	if s := l.Stats(); len(in) != 3 || s.InFlight != 3 || s.Refused != 2 {
		t.Errorf("%d let in: %+v", len(in), s)
	}
	for _, e := range in {
		k.Leave(e, overload.Failed)
	}
	if _, ok := k.Enter(); !ok || l.Stats().InFlight != 1 {
		t.Errorf("%+v", l.Stats())
	}
}

func BenchmarkEnterLeave(b *testing.B) {
	k := overload.New(overload.Config{}).Kind("high", overload.High)
	b.ReportAllocs()
	for b.Loop() {
		e, _ := k.Enter()
		k.Leave(e, overload.Worked)
	}
}
