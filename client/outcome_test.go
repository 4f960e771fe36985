package client_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/breaker"
	"github.com/chassi-go/chassi/client"
)

// switchable behaves in turn as the functions that set stores.
type switchable struct {
	behave atomic.Pointer[func(context.Context, *instance) error]
}

func (s *switchable) set(behave func(context.Context, *instance) error) { s.behave.Store(&behave) }

func (s *switchable) do(ctx context.Context, i *instance) error { return (*s.behave.Load())(ctx, i) }

func fails(context.Context, *instance) error { return errDown }

// Failures are counted, and the time that they take says nothing about the latency.
func TestFailuresDoNotChangeTheLatency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s switchable
		s.set(takes(100 * time.Millisecond))
		r := open(t, client.Policy{Breaker: never}, s.do, "a:1")
		call := func() error { _, err := r.write(t.Context()); return err }
		r.many(3, 1, call)
		s.set(fails)
		r.many(20, 1, call)
		i := r.cluster.Stats().Instances[0]
		if i.Calls != 23 || i.Failures != 20 || i.Latency.Round(time.Millisecond) != 100*time.Millisecond {
			t.Errorf("%d calls, %d failures, latency %v; want 23, 20, 100ms", i.Calls, i.Failures, i.Latency)
		}
	})
}

// The time of an ejection grows with ejections in a row: a success in between makes the
// next one as short as the first.
func TestASuccessShortensTheNextEjection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s switchable
		s.set(fails)
		r := open(t, client.Policy{Balancing: "round_robin", Breaker: never}, func(ctx context.Context, i *instance) error {
			if i.addr == "bad:1" {
				return s.do(ctx, i)
			}
			return nil
		}, "bad:1", "b:1")
		call := func() error { _, err := r.write(t.Context()); return err }
		r.many(200, 1, call)
		time.Sleep(5 * time.Second)
		s.set(takes(0))
		if r.many(200, 1, call); r.at("bad:1").calls.Load() == 5 {
			t.Fatal("not called again after 5s")
		}
		s.set(fails)
		r.many(200, 1, call)
		if s := r.cluster.Stats(); s.Ejections != 2 {
			t.Fatalf("%d ejections, want 2", s.Ejections)
		}
		time.Sleep(5 * time.Second)
		if i := r.cluster.Stats(); i.String() != "2 instances" {
			t.Errorf("%v, want the second ejection to end after 5s as the first did", i)
		}
	})
}

// An instance whose breaker has closed, or whose ejection is over, takes its full share
// after SlowStart only.
func TestSlowStartOfAnInstanceThatIsBack(t *testing.T) {
	t.Parallel()
	for name, policy := range map[string]client.Policy{
		"breaker":  {Breaker: breaker.Config{Probes: 1}, Eject: client.Eject{Consecutive: 1000}},
		"ejection": {Breaker: never},
	} {
		synctest.Test(t, func(t *testing.T) {
			policy.Balancing = "round_robin"
			var s switchable
			s.set(fails)
			r := open(t, policy, func(ctx context.Context, i *instance) error {
				if i.addr == "back:1" {
					return s.do(ctx, i)
				}
				return nil
			}, "back:1", "b:1")
			call := func() error { _, err := r.write(t.Context()); return err }
			r.many(100, 1, call)
			if s := r.cluster.Stats(); s.BreakersOpened+s.Ejections != 1 {
				t.Fatalf("%s: %+v", name, s)
			}
			time.Sleep(5*time.Second + 1)
			s.set(takes(0))
			share := func() int64 {
				before := r.at("back:1").calls.Load()
				r.many(1000, 1, call)
				return r.at("back:1").calls.Load() - before
			}
			if n := share(); n < 10 || n > 200 {
				t.Errorf("%s: %d of 1,000 calls at once, want about a tenth of a full share", name, n)
			}
			time.Sleep(10 * time.Second)
			if n := share(); n != 500 {
				t.Errorf("%s: %d of 1,000 calls after SlowStart, want half", name, n)
			}
		})
	}
}

// Stop closes the client that a cluster with a source was dialled with at first, too.
func TestStopClosesTheFirstClient(t *testing.T) {
	t.Parallel()
	r := open(t, client.Policy{}, takes(0), "a:1")
	if _, err := r.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.cluster.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.instances) != 2 {
		t.Errorf("%d clients, want the first one and that of a:1", len(r.instances))
	}
	for addr, i := range r.instances {
		if !i.closed.Load() {
			t.Errorf("the client of %s is not closed", addr)
		}
	}
}
