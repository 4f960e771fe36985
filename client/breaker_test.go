package client_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
)

// A call that the breaker refuses is not in flight, so that an instance that goes away
// with an open breaker is closed. The error names the service and the instance.
func TestRefusedCallsAreNotInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := open(t, client.Policy{}, fails, "a:1")
		r.many(10, 1, func() error { _, err := r.write(t.Context()); return err })
		_, err := r.write(t.Context())
		if e := chassi.ErrorOf(err); e.Reason != "circuit_open" || !strings.Contains(e.Cause.Error(), "test at a:1") {
			t.Errorf("%v, cause %v", err, e.Cause)
		}
		if n := r.cluster.Stats().Instances[0].InFlight; n != 0 {
			t.Errorf("%d calls in flight", n)
		}
		old := r.at("a:1")
		r.news <- []string{"b:1"}
		synctest.Wait()
		if !old.closed.Load() {
			t.Error("the instance that is gone is not closed")
		}
	})
}

// The breaker's window holds several calls that run out of time, however long that is.
func TestBreakerCountsCallsThatRunOutOfTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := open(t, client.Policy{Timeout: 30 * time.Second}, takes(time.Hour), "a:1")
		r.many(40, 8, func() error { _, err := r.write(t.Context()); return err })
		if s := r.cluster.Stats(); s.BreakersOpened == 0 {
			t.Errorf("%+v: never opened", s)
		}
	})
}

// A call that was given less time than such calls take says nothing about the instance;
// one that was given as much does.
func TestImpatientCallsAreNoFailures(t *testing.T) {
	t.Parallel()
	for timeout, want := range map[time.Duration]uint64{99 * time.Millisecond: 0, 100 * time.Millisecond: 1} {
		synctest.Test(t, func(t *testing.T) {
			var s switchable
			s.set(takes(100 * time.Millisecond))
			r := open(t, client.Policy{}, s.do, "a:1")
			if _, err := r.write(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.set(takes(time.Hour))
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			_, err := r.write(ctx)
			if n := r.cluster.Stats().Instances[0].Failures; err == nil || n != want {
				t.Errorf("%v in %v: %d failures, want %d", err, timeout, n, want)
			}
		})
	}
}

// A retry goes to the instance that failed rather than to one that is left out, and the
// context of an attempt ends with the call.
func TestRetriesAvoidEjectedInstances(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s switchable
		s.set(takes(0))
		r := open(t, client.Policy{Balancing: "round_robin", Breaker: never}, func(ctx context.Context, i *instance) error {
			if i.addr == "bad:1" {
				return errDown
			}
			return s.do(ctx, i)
		}, "bad:1", "good:1")
		r.many(50, 1, func() error { _, err := r.write(t.Context()); return err })
		bad := r.at("bad:1").calls.Load()
		var last context.Context
		once := failsOnce(errDown)
		s.set(func(ctx context.Context, i *instance) error { last = ctx; return once(ctx, i) })
		if from, err := r.read(t.Context()); err != nil || from != "good:1" || r.at("bad:1").calls.Load() != bad {
			t.Errorf("%q, %v; %d further calls of the instance that is left out", from, err, r.at("bad:1").calls.Load()-bad)
		}
		if last.Err() == nil {
			t.Error("the context of the call has not ended with it")
		}
	})
}

// Without a Logger a cluster logs to the default one. Not parallel: it replaces that.
func TestClusterLogsToTheDefaultLogger(t *testing.T) {
	var log strings.Builder
	previous := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(previous)
	f := &fleet{behave: fails, instances: make(map[string]*instance)}
	c, err := client.NewCluster(client.ClusterOptions{Name: "queue", Dial: f.dial})
	if err != nil {
		t.Fatal(err)
	}
	calls, err := client.New(service(), c)
	if err != nil {
		t.Fatal(err)
	}
	r := &remote{f, calls, c}
	r.many(20, 1, func() error { _, err := r.write(t.Context()); return err })
	if !strings.Contains(log.String(), `msg="circuit breaker opened" target=queue`) {
		t.Errorf("logged %q", log.String())
	}
}

// A hedged call that loses shows at least how long it was waited for.
func TestLostHedgesCountForTheLatency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		policy := client.Policy{Balancing: "round_robin", HedgeAfter: 50 * time.Millisecond}
		r := open(t, policy, func(ctx context.Context, i *instance) error {
			if i.addr == "slow:1" {
				return pass(ctx, time.Second)
			}
			return pass(ctx, 10*time.Millisecond)
		}, "slow:1", "fast:1")
		r.many(4, 1, func() error { _, err := r.read(t.Context()); return err })
		for _, i := range r.cluster.Stats().Instances {
			if want := map[string]time.Duration{"slow:1": 60 * time.Millisecond, "fast:1": 10 * time.Millisecond}[i.Addr]; i.Latency.Round(time.Millisecond) != want {
				t.Errorf("latency of %s is %v, want %v", i.Addr, i.Latency, want)
			}
		}
	})
}
