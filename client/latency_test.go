package client_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/client"
)

// The latency of an instance is an average of the last second or so: a single slow call moves
// it a little, unless nothing else was seen for long.
func TestLatencyIsAnAverage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s switchable
		s.set(takes(10 * time.Millisecond))
		r := open(t, client.Policy{}, s.do, "a:1")
		call := func() error { _, err := r.write(t.Context()); return err }
		r.many(50, 1, call)
		s.set(takes(100 * time.Millisecond))
		r.many(1, 1, call)
		if l := r.cluster.Stats().Instances[0].Latency; l < 15*time.Millisecond || l > 25*time.Millisecond {
			t.Errorf("%v after one call of 100ms among many of 10ms", l)
		}
		time.Sleep(10 * time.Second)
		r.many(1, 1, call)
		if l := r.cluster.Stats().Instances[0].Latency; l < 99*time.Millisecond || l > 100*time.Millisecond {
			t.Errorf("%v after a call of 100ms and 10s without others", l)
		}
	})
}

// A call that was given up says something about the latency only if it took longer than calls
// of that method, and of that instance, do.
func TestEarlyCancellationIsNotMeasured(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s switchable
		r := open(t, client.Policy{}, s.do, "a:1")
		quick := func(n int) {
			s.set(takes(10 * time.Millisecond))
			r.many(n, 1, func() error { _, err := r.read(t.Context()); return err })
		}
		giveUp := func(invoke func(context.Context) (string, error), after time.Duration) (moved bool) {
			before := r.cluster.Stats().Instances[0].Latency
			s.set(takes(time.Hour))
			ctx, cancel := context.WithTimeout(t.Context(), after)
			defer cancel()
			time.AfterFunc(after-1, cancel)
			if _, err := invoke(ctx); err == nil {
				t.Error("a call of an hour succeeded")
			}
			return r.cluster.Stats().Instances[0].Latency != before
		}
		s.set(takes(time.Second))
		if _, err := r.write(t.Context()); err != nil {
			t.Fatal(err)
		}
		if giveUp(r.read, 500*time.Millisecond) { // the first one of its method
			t.Error("moved by a call that was shorter than those of the instance")
		}
		quick(500)
		if giveUp(r.write, 500*time.Millisecond) {
			t.Error("moved by a call that was shorter than those of its method")
		}
		if !giveUp(r.read, 500*time.Millisecond) {
			t.Error("not moved by a call that was longer than all others")
		}
	})
}

// An instance of twice the cost is chosen one time in five.
func TestP2CChoosesByTheSquareOfTheCost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := open(t, client.Policy{}, func(ctx context.Context, i *instance) error {
			if i.addr == "slow:1" {
				return pass(ctx, 20*time.Millisecond)
			}
			return pass(ctx, 10*time.Millisecond)
		}, "slow:1", "fast:1")
		r.many(4000, 1, func() error { _, err := r.write(t.Context()); return err })
		if n := r.at("slow:1").calls.Load(); n < 680 || n > 920 {
			t.Errorf("%d of 4,000 calls, want about 800", n)
		}
	})
}

// lateSource returns its last list after its context has ended.
type lateSource struct{}

func (lateSource) Next(ctx context.Context) ([]string, error) {
	<-ctx.Done()
	<-time.After(time.Second)
	return []string{"late:1"}, nil
}

// Stop waits for the source, so that no instance comes after it.
func TestStopWaitsForTheSource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{behave: takes(0), instances: make(map[string]*instance)}
		c, err := client.NewCluster(client.ClusterOptions{Name: "test", Source: lateSource{}, Dial: f.dial})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		began := time.Now()
		if err := c.Stop(t.Context()); err != nil || time.Since(began) != time.Second || len(c.Stats().Instances) != 0 {
			t.Errorf("%v after %v, %v", err, time.Since(began), c.Stats())
		}
	})
}
