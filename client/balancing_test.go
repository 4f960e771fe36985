package client_test

import (
	"context"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/breaker"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/retry"
)

// never is a breaker that does not open.
var never = breaker.Config{Consecutive: math.MaxInt32, MinCalls: math.MaxInt32}

func TestRoundRobinTakesTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := open(t, client.Policy{Balancing: "round_robin"}, takes(time.Millisecond), "a:1", "b:1", "c:1")
		r.many(3000, 7, func() error { _, err := r.write(t.Context()); return err })
		for _, addr := range []string{"a:1", "b:1", "c:1"} {
			if n := r.at(addr).calls.Load(); n != 1000 {
				t.Errorf("%s had %d of 3,000 calls", addr, n)
			}
		}
	})
}

// The slow instance, and the one that fails, get few calls, but go on being tried.
func TestP2CPrefersTheBetterInstance(t *testing.T) {
	t.Parallel()
	for name, behave := range map[string]func(context.Context, *instance) error{
		"slow": func(ctx context.Context, i *instance) error {
			if i.addr == "bad:1" {
				return pass(ctx, 100*time.Millisecond)
			}
			return pass(ctx, 5*time.Millisecond)
		},
		"failing": func(ctx context.Context, i *instance) error {
			if i.addr == "bad:1" && i.calls.Load()%4 != 0 {
				return errDown
			}
			return pass(ctx, 5*time.Millisecond)
		},
		"refusing": func(ctx context.Context, i *instance) error {
			if i.addr == "bad:1" {
				return errBusy.WithRetryAfter(time.Second)
			}
			return pass(ctx, 5*time.Millisecond)
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := open(t, client.Policy{Breaker: never}, behave, "bad:1", "b:1", "c:1")
			r.many(6000, 12, func() error { _, err := r.write(t.Context()); return err })
			bad, good := r.at("bad:1").calls.Load(), r.at("b:1").calls.Load()
			if bad > 600 || bad < 3 || good < 2000 {
				t.Errorf("%s: %d calls of 6,000, a good one %d", name, bad, good)
			}
		})
	}
}

// An instance that was once very slow is tried again, once in a second, and gets its share
// when it has recovered.
func TestP2CTriesAnInstanceThatWasSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := open(t, client.Policy{Breaker: never}, func(ctx context.Context, i *instance) error {
			if i.addr == "was-slow:1" && i.calls.Load() == 1 {
				return pass(ctx, 5*time.Second)
			}
			return pass(ctx, time.Millisecond)
		}, "was-slow:1", "b:1")
		r.many(20_000, 1, func() error { _, err := r.write(t.Context()); return err })
		if n := r.at("was-slow:1").calls.Load(); n < 3000 {
			t.Errorf("%d calls of 20,000 in 25 s reached it", n)
		}
	})
}

// Instances that hardly differ share the calls, though few are under way: the one whose
// caches are cold because it is seldom asked would otherwise never be asked more often.
func TestP2CSharesAmongAlmostEqualInstances(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := open(t, client.Policy{}, func(ctx context.Context, i *instance) error {
			if i.addr == "b:1" {
				return pass(ctx, 6*time.Millisecond)
			}
			return pass(ctx, 5*time.Millisecond)
		}, "a:1", "b:1")
		r.many(1000, 1, func() error { _, err := r.write(t.Context()); return err })
		if a, b := r.at("a:1").calls.Load(), r.at("b:1").calls.Load(); a < b || b < 300 {
			t.Errorf("%d calls of the faster one, %d of the other, want nearly as many", a, b)
		}
	})
}

func TestAnInstanceThatFailsIsLeftOutForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := open(t, client.Policy{Balancing: "round_robin", Breaker: never}, func(ctx context.Context, i *instance) error {
			if i.addr == "bad:1" {
				return errDown
			}
			return pass(ctx, time.Millisecond)
		}, "bad:1", "b:1", "c:1")
		call := func() error { _, err := r.write(t.Context()); return err }
		if failed := r.many(1000, 1, call); failed != 5 {
			t.Errorf("%d calls failed, want the 5 until it is left out", failed)
		}
		if s := r.cluster.Stats(); s.Ejections != 1 || s.String() != "3 instances; bad:1 left out" {
			t.Errorf("%d ejections: %v", s.Ejections, s)
		}
		time.Sleep(5 * time.Second)
		if failed := r.many(1000, 1, call); failed != 5 {
			t.Errorf("%d calls failed when it was back, want 5", failed)
		}
		time.Sleep(5 * time.Second)
		if failed := r.many(1000, 1, call); failed != 0 {
			t.Errorf("%d calls failed: left out twice in a row, it is out for twice the time", failed)
		}
	})
}

func TestNeverAllAreLeftOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for addrs, limit := range map[string]int{"a:1": 0, "a:1,b:1": 1, "a:1,b:1,c:1,d:1,e:1": 4} {
			list := strings.Split(addrs, ",")
			r := open(t, client.Policy{Breaker: never, Eject: client.Eject{MaxShare: 1}}, func(context.Context, *instance) error { return errDown }, list...)
			r.many(1000, 10, func() error { _, err := r.write(t.Context()); return err })
			out, calls := 0, uint64(0)
			for _, i := range r.cluster.Stats().Instances {
				calls += i.Calls
				if i.Ejected {
					out++
				}
			}
			if out != limit || calls != 1000 {
				t.Errorf("of %d instances %d are left out, %d calls made", len(list), out, calls)
			}
		}
	})
}

func TestSlowStart(t *testing.T) {
	t.Parallel()
	for _, balancing := range []string{"p2c", "round_robin"} {
		synctest.Test(t, func(t *testing.T) {
			r := open(t, client.Policy{Balancing: balancing}, takes(10*time.Millisecond), "a:1", "b:1")
			call := func() error { _, err := r.write(t.Context()); return err }
			r.many(200, 4, call)
			time.Sleep(time.Minute) // the cluster is older than a slow start takes
			r.news <- []string{"a:1", "b:1", "new:1"}
			synctest.Wait()
			r.many(600, 4, call) // 1.5 s
			count := func() int64 { return r.at("new:1").calls.Load() }
			early := count()
			time.Sleep(6500 * time.Millisecond)
			before := count()
			r.many(600, 4, call) // from 8 s to 9.5 s
			middle := count() - before
			time.Sleep(10 * time.Second)
			before = count()
			r.many(600, 4, call)
			late := count() - before
			if early > 100 || early == 0 || middle < 90 || late < 150 {
				t.Errorf("%s: the new one had %d of the first 600 calls, %d of 600 near the end, and %d of 600 later", balancing, early, middle, late)
			}
		})
	}
}

// A call that comes before the first instance is known waits for it, within its time.
func TestCallsWaitForTheFirstInstance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := open(t, client.Policy{Timeout: 3 * time.Second}, takes(0))
		began := time.Now()
		if _, err := r.read(t.Context()); chassi.ErrorOf(err).Reason != "no_instance" || time.Since(began) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		time.AfterFunc(time.Second, func() { r.news <- []string{"late:1"} })
		if from, err := r.read(t.Context()); from != "late:1" || err != nil {
			t.Errorf("%q, %v", from, err)
		}
	})
}

// An instance that is gone gets no new calls, and ends those that it has.
func TestInstancesAppearAndDisappear(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := open(t, client.Policy{}, takes(time.Second), "a:1")
		done := make(chan string)
		go func() {
			from, err := r.write(t.Context())
			if err != nil {
				t.Error(err)
			}
			done <- from
		}()
		synctest.Wait()
		old := r.at("a:1")
		r.news <- []string{"b:1"}
		synctest.Wait()
		if from, err := r.write(t.Context()); from != "b:1" || err != nil {
			t.Errorf("%q, %v", from, err)
		}
		if from := <-done; from != "a:1" {
			t.Errorf("from %q", from)
		}
		synctest.Wait()
		if !old.closed.Load() || r.at("b:1").closed.Load() {
			t.Error("the old one is to be closed, the new one is not")
		}
		if err := r.cluster.Stop(t.Context()); err != nil || !r.at("b:1").closed.Load() {
			t.Error("not closed at the end")
		}
		if _, err := r.write(t.Context()); chassi.ErrorOf(err).Reason != "no_instance" {
			t.Error(err)
		}
	})
}

// While its only clients come and go, no call meets a closed one.
func TestNoCallMeetsAClosedInstance(t *testing.T) {
	t.Parallel()
	r := open(t, client.Policy{}, func(_ context.Context, i *instance) error {
		if i.closed.Load() {
			t.Error("called after it was closed")
		}
		return nil
	}, "a:1")
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		for i := range 500 {
			r.news <- []string{[]string{"a:1", "b:1"}[i%2]}
		}
	}()
	for n := 0; ; n++ {
		if _, err := r.write(t.Context()); err != nil {
			t.Fatal(err)
		}
		select {
		case <-stop:
			return
		default:
		}
	}
}

// One without addresses is an instance all the same.
func TestWithoutASource(t *testing.T) {
	t.Parallel()
	f := &fleet{behave: takes(0), instances: make(map[string]*instance)}
	dials := 0
	c, err := client.NewCluster(client.ClusterOptions{Name: "queue", Dial: func(addr string) (client.Caller, error) {
		dials++
		return f.dial(addr)
	}})
	if err != nil {
		t.Fatal(err)
	}
	calls, err := client.New(service(), c)
	if err != nil {
		t.Fatal(err)
	}
	r := &remote{f, calls, c}
	if s := c.Stats(); s.Status() != "unknown" {
		t.Errorf("never called: %s", s.Status())
	}
	if from, err := r.read(t.Context()); from != "" || err != nil || c.Stats().String() != "1 instance" || c.Stats().Status() != "ok" {
		t.Errorf("%q, %v, %v", from, err, c.Stats())
	}
	if err := c.Stop(t.Context()); err != nil || !f.at("").closed.Load() || dials != 1 {
		t.Errorf("closed %v, %d dials", f.at("").closed.Load(), dials)
	}
}

func TestNewClusterRefuses(t *testing.T) {
	t.Parallel()
	_, err := client.NewCluster(client.ClusterOptions{Name: "x", Policy: client.Policy{Balancing: "best"}})
	if err == nil || !strings.Contains(err.Error(), `"best"`) {
		t.Error(err)
	}
}

// once is a retry policy without retries.
var once = client.Retry{Config: retry.Config{Attempts: 1}}
