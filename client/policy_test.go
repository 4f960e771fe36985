package client_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/breaker"
	"github.com/chassi-go/chassi/client"
)

// failsOnce fails the first call with err.
func failsOnce(err error) func(context.Context, *instance) error {
	var calls atomic.Int64
	return func(context.Context, *instance) error {
		if calls.Add(1) == 1 {
			return err
		}
		return nil
	}
}

// Only what is declared idempotent is retried, only for errors that may pass, and
// elsewhere.
func TestRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, code := range chassi.Codes() {
			fails := failsOnce(chassi.NewError(code, "r", "m"))
			r := open(t, client.Policy{}, fails, "a:1", "b:1")
			_, err := r.read(t.Context())
			wantRetry := code == chassi.Unavailable || code == chassi.ResourceExhausted || code == chassi.Aborted || code == chassi.DeadlineExceeded
			if retried := err == nil; retried != wantRetry || retried && (r.at("a:1").calls.Load() != 1 || r.at("b:1").calls.Load() != 1) {
				t.Errorf("%v: retried %v, want %v; %v", code, retried, wantRetry, r.cluster.Stats())
			}
			r = open(t, client.Policy{}, failsOnce(chassi.NewError(code, "r", "m")), "a:1", "b:1")
			if _, err := r.write(t.Context()); err == nil || r.cluster.Stats().Retries != 0 {
				t.Errorf("%v: a write was repeated", code)
			}
		}
	})
}

// What a failed attempt left behind is gone.
func TestRetriesBeginAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out string
		r := open(t, client.Policy{}, failsOnce(errDown), "a:1", "b:1")
		look := func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
			return func(ctx context.Context, call *chassi.Call) error {
				err := next(ctx, call)
				out = call.Out.Get("From")
				return err
			}
		}
		c, err := client.New(service(), r.cluster, look)
		if err != nil {
			t.Fatal(err)
		}
		a, err := client.Invoke[answer](t.Context(), c, "Read", &question{})
		if err != nil || a.From != out || r.cluster.Stats().Retries != 1 {
			t.Errorf("%v, %v, metadata from %q", a, err, out)
		}
	})
}

// Retry-After is obeyed: waited for, or, when that would be too late, believed.
func TestRetryAfterIsObeyed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		r := open(t, client.Policy{}, failsOnce(errBusy.WithRetryAfter(2*time.Second)), "a:1", "b:1")
		if _, err := r.read(t.Context()); err != nil || time.Since(began) != 2*time.Second {
			t.Errorf("%v after %v, want success after 2s", err, time.Since(began))
		}
		began = time.Now()
		r = open(t, client.Policy{}, failsOnce(errBusy.WithRetryAfter(5*time.Second)), "a:1", "b:1")
		if _, err := r.read(t.Context()); !errors.Is(err, errBusy) || time.Since(began) != 0 {
			t.Errorf("%v after %v, want the refusal at once", err, time.Since(began))
		}
	})
}

// A delay beyond the deadline of the call, the timeout of the policy or its max_retry_after is not
// waited for: the refusal is returned at once, with its delay. That is so for calls and for the
// opening of streams.
func TestLongRetryAfterIsNotObeyed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hour := client.Policy{Timeout: time.Hour}
		own := hour
		own.Retry.MaxRetryAfter = time.Minute
		for name, c := range map[string]struct {
			policy   client.Policy
			deadline time.Duration // of the caller, 0 for none
			after    time.Duration
			retried  bool
		}{
			"timeout":           {client.Policy{}, 0, 5 * time.Second, false},
			"within timeout":    {client.Policy{}, 0, 4 * time.Second, true},
			"deadline":          {hour, 3 * time.Second, 3 * time.Second, false},
			"within deadline":   {hour, 3 * time.Second, 2 * time.Second, true},
			"default":           {hour, 0, 11 * time.Second, false},
			"within default":    {hour, 0, 10 * time.Second, true},
			"a day":             {hour, 0, 24 * time.Hour, false},
			"its own":           {own, 0, time.Minute + 1, false},
			"within its own":    {own, 0, time.Minute, true},
			"hedged":            {client.Policy{Timeout: time.Hour, HedgeAfter: time.Minute}, 0, 11 * time.Second, false},
			"attempts of a sec": {client.Policy{AttemptTimeout: time.Second}, 0, 5 * time.Second, false},
		} {
			for _, kind := range []string{"call", "stream"} {
				ctx, cancel := context.WithCancel(t.Context())
				if c.deadline > 0 {
					ctx, cancel = context.WithTimeout(t.Context(), c.deadline)
				}
				r := open(t, c.policy, failsOnce(errBusy.WithRetryAfter(c.after)), "a:1", "b:1")
				began := time.Now()
				var err error
				if kind == "call" {
					_, err = r.read(ctx)
				} else {
					_, _, err = r.watch(ctx, "Watch")
				}
				took := time.Since(began)
				switch {
				case c.retried && (err != nil || took != c.after):
					t.Errorf("%s, %s: %v after %v, want success after %v", name, kind, err, took, c.after)
				case !c.retried && (!errors.Is(err, errBusy) || chassi.ErrorOf(err).RetryAfter != c.after || took != 0):
					t.Errorf("%s, %s: %v after %v, want the refusal with its delay at once", name, kind, err, took)
				}
				cancel()
				synctest.Wait()
			}
		}
	})
}

// Fault 30: three services in a row, each of which retries, and the last one is down:
// it is tried at most 1.2 times for each request at the top, not 27 times.
func TestFault30RetryStorm(t *testing.T) {
	t.Parallel()
	for _, share := range []float64{1, 0.5, 0.1} { // of calls that fail at the bottom
		synctest.Test(t, func(t *testing.T) {
			const requests = 2000
			var bottom atomic.Int64
			behave := func(ctx context.Context, _ *instance) error {
				if n := bottom.Add(1); float64(n%10) < share*10 {
					return errDown
				}
				return pass(ctx, time.Millisecond)
			}
			policy := client.Policy{Breaker: never} // which would help, and is not what is tested
			var top *remote
			for range 3 {
				if next := top; next != nil {
					behave = func(ctx context.Context, _ *instance) error { _, err := next.read(ctx); return err }
				}
				top = open(t, policy, behave, "a:1", "b:1")
			}
			failed := top.many(requests, 20, func() error { _, err := top.read(t.Context()); return err })
			ratio := float64(bottom.Load()) / requests
			t.Logf("%.0f %% failing: %.3f attempts at the bottom for each request, %d of %d failed", share*100, ratio, failed, requests)
			if ratio > 1.2 || share < 0.2 && failed > requests/100 {
				t.Errorf("%v attempts for each request, %d failed", ratio, failed)
			}
		})
	}
}

func TestAttemptTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		r := open(t, client.Policy{AttemptTimeout: time.Second}, func(ctx context.Context, _ *instance) error {
			if calls.Add(1) == 1 {
				return pass(ctx, time.Hour)
			}
			return pass(ctx, time.Millisecond)
		}, "a:1", "b:1")
		began := time.Now()
		if _, err := r.read(t.Context()); err != nil || time.Since(began) > 1100*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// The policy's time bounds a call, and the caller's if that is less.
func TestTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := open(t, client.Policy{Timeout: 3 * time.Second}, takes(time.Hour), "a:1")
		for caller, want := range map[time.Duration]time.Duration{time.Minute: 3 * time.Second, time.Second: time.Second} {
			ctx, cancel := context.WithTimeout(t.Context(), caller)
			began := time.Now()
			if _, err := r.read(ctx); chassi.ErrorOf(err).Code != chassi.DeadlineExceeded || time.Since(began) != want {
				t.Errorf("%v after %v, want %v", err, time.Since(began), want)
			}
			cancel()
		}
	})
}

func TestHedging(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		behave := func(ctx context.Context, i *instance) error {
			if i.addr == "slow:1" {
				return pass(ctx, time.Second)
			}
			return pass(ctx, 10*time.Millisecond)
		}
		r := open(t, client.Policy{Balancing: "round_robin", HedgeAfter: 50 * time.Millisecond, Retry: client.Retry{Burst: 100}}, behave, "slow:1", "fast:1")
		for range 20 {
			began := time.Now()
			if from, err := r.read(t.Context()); err != nil || from != "fast:1" || time.Since(began) > 60*time.Millisecond {
				t.Errorf("%q, %v after %v", from, err, time.Since(began))
			}
		}
		if s := r.cluster.Stats(); s.Hedges != 20 {
			t.Errorf("%d hedges of 20 calls, each of which goes to the slow one first, whose turn it is", s.Hedges)
		}
		before := r.at("slow:1").calls.Load() + r.at("fast:1").calls.Load()
		for range 2 {
			if _, err := r.write(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if after := r.at("slow:1").calls.Load() + r.at("fast:1").calls.Load(); after != before+2 {
			t.Error("a write was sent twice")
		}
	})
}

// A hedged success earns its part of a retry once.
func TestHedgesAreBudgeted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		r := open(t, client.Policy{HedgeAfter: 50 * time.Millisecond}, func(ctx context.Context, _ *instance) error {
			if slow.Load() {
				return pass(ctx, time.Second)
			}
			return nil
		}, "a:1", "b:1")
		hedges := func(calls int) uint64 {
			before := r.cluster.Stats().Hedges
			r.many(calls, calls, func() error { _, err := r.read(t.Context()); return err })
			return r.cluster.Stats().Hedges - before
		}
		slow.Store(true)
		if n := hedges(30); n != 10 {
			t.Errorf("%d hedges at once, want the burst of 10", n)
		}
		slow.Store(false) // those 30 have earned three
		hedges(20)
		slow.Store(true)
		if n := hedges(30); n != 5 {
			t.Errorf("%d hedges after 50 successes, want a tenth", n)
		}
	})
}

// When the breakers are open even what may be repeated fails at once.
func TestCircuitOpenIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := open(t, client.Policy{}, func(context.Context, *instance) error { return errDown }, "a:1")
		r.many(10, 1, func() error { _, err := r.write(t.Context()); return err })
		began := time.Now()
		if _, err := r.read(t.Context()); chassi.ErrorOf(err).Reason != "circuit_open" || time.Since(began) != 0 || r.cluster.Stats().Retries != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestAPanicOfAHedgedCallIsContained(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := open(t, client.Policy{HedgeAfter: time.Second}, func(context.Context, *instance) error { panic("oh") }, "a:1")
		var p *chassi.PanicError
		if _, err := r.read(t.Context()); !errors.As(err, &p) || r.at("a:1").busy.Load() != 0 || r.cluster.Stats().Instances[0].InFlight != 0 {
			t.Errorf("%v", err)
		}
	})
}

func TestBulkhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := open(t, client.Policy{MaxInFlight: 5}, takes(time.Second), "a:1", "b:1")
		var refused atomic.Int64
		r.many(20, 20, func() error {
			_, err := r.write(t.Context())
			if chassi.ErrorOf(err) != nil && chassi.ErrorOf(err).Reason == "too_many_calls" {
				refused.Add(1)
			}
			return err
		})
		if s := r.cluster.Stats(); refused.Load() != 15 || s.BulkheadFull != 15 || s.InFlight != 0 {
			t.Errorf("%d of 20 refused, %+v", refused.Load(), s)
		}
		if _, err := r.write(t.Context()); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// Fault 31, over a whole client: the breaker opens after ten failures; then exactly
// the probes of 1,000 parallel calls reach the instance.
func TestFault31BreakerOfAnInstance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		r := open(t, client.Policy{Retry: once, Breaker: breaker.Config{Probes: 4}}, func(ctx context.Context, _ *instance) error {
			if down.Load() {
				return errDown
			}
			return pass(ctx, time.Second)
		}, "a:1")
		call := func() error { _, err := r.write(t.Context()); return err }
		r.many(1000, 1, call)
		if n := r.at("a:1").calls.Load(); n != 10 {
			t.Errorf("%d calls of a dead instance", n)
		}
		if _, err := r.write(t.Context()); chassi.ErrorOf(err).Reason != "circuit_open" || chassi.ErrorOf(err).RetryAfter != 5*time.Second {
			t.Errorf("%v", err)
		}
		if s := r.cluster.Stats().String(); s != "1 instance; a:1 breaker open" {
			t.Error(s)
		}
		time.Sleep(5*time.Second + 1)
		down.Store(false)
		failed := r.many(1000, 1000, call)
		t.Logf("a dead instance got 10 calls of 1,000; half-open, %d of 1,000 parallel ones", r.at("a:1").calls.Load()-10)
		if n := r.at("a:1").calls.Load(); n != 14 || failed != 996 {
			t.Errorf("%d probes of 1,000 parallel calls, %d failed", n-10, failed)
		}
		if s := r.cluster.Stats(); s.Instances[0].Breaker != breaker.Closed || s.BreakersOpened != 1 || s.BreakersHalfOpen != 1 || s.BreakersClosed != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// With one of two instances dead, its breaker open, all calls succeed elsewhere.
func TestABreakerSendsCallsElsewhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := open(t, client.Policy{Eject: client.Eject{Consecutive: 1000}}, func(ctx context.Context, i *instance) error {
			if i.addr == "dead:1" {
				return errDown
			}
			return pass(ctx, time.Millisecond)
		}, "dead:1", "b:1")
		var failed int64
		for range 50 {
			failed += r.many(10, 10, func() error { _, err := r.write(t.Context()); return err })
		}
		if dead := r.at("dead:1").calls.Load(); dead != failed || failed > 20 {
			t.Errorf("%d calls failed, %d reached the dead one", failed, dead)
		}
	})
}

// What is no fault of the instance does not open its breaker.
func TestBreakerIgnoredErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, err := range []error{errNoSuch, errBusy.WithRetryAfter(time.Second), context.Canceled, chassi.NewError(chassi.ResourceExhausted, "rate_limited", "")} {
			r := open(t, client.Policy{}, func(context.Context, *instance) error { return chassi.ErrorOf(err) }, "a:1")
			r.many(100, 1, func() error { _, err := r.write(t.Context()); return err })
			if n := r.at("a:1").calls.Load(); n != 100 {
				t.Errorf("%v: opened after %d calls", err, n)
			}
		}
		r := open(t, client.Policy{}, takes(100*time.Millisecond), "a:1")
		r.many(10, 1, func() error { _, err := r.write(t.Context()); return err })
		r.many(100, 1, func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := r.write(ctx)
			return err
		})
		if s := r.cluster.Stats(); s.Instances[0].Breaker != breaker.Closed {
			t.Error("opened by callers that do not wait as long as calls take")
		}
		r = open(t, client.Policy{Timeout: time.Second}, takes(time.Hour), "a:1")
		r.many(100, 5, func() error { _, err := r.write(t.Context()); return err })
		if n := r.at("a:1").calls.Load(); n > 14 {
			t.Errorf("%d calls of an instance that hangs, want ten and what was under way", n)
		}
	})
}

// A call that goes through everything costs no more than five allocations and a
// microsecond over one that goes to the instance directly (see BenchmarkCluster).
func TestAllocations(t *testing.T) {
	count := func(invoke func() error) float64 {
		return testing.AllocsPerRun(1000, func() {
			if err := invoke(); err != nil {
				t.Error(err)
			}
		})
	}
	bare, whole := pair(t)
	direct := count(func() error { _, err := bare(t.Context()); return err })
	through := count(func() error { _, err := whole(t.Context()); return err })
	if through-direct > 5 {
		t.Errorf("%v allocations, %v without", through, direct)
	}
}

// pair is a call of an instance, and the same through a cluster of three.
func pair(t testing.TB) (bare, whole func(context.Context) (*answer, error)) {
	t.Helper()
	r := open(t, client.Policy{}, func(context.Context, *instance) error { return nil }, "a:1", "b:1", "c:1")
	if _, err := r.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	direct, err := client.New(service(), r.at("a:1"))
	if err != nil {
		t.Fatal(err)
	}
	request := &question{1}
	return func(ctx context.Context) (*answer, error) { return client.Invoke[answer](ctx, direct, "Read", request) },
		func(ctx context.Context) (*answer, error) {
			return client.Invoke[answer](ctx, r.Client, "Read", request)
		}
}

// BenchmarkCluster is one idempotent call: bare, and through discovery, balancing,
// breaker, retry, deadline and bulkhead.
func BenchmarkCluster(b *testing.B) {
	bare, whole := pair(b)
	for name, invoke := range map[string]func(context.Context) (*answer, error){"bare": bare, "whole": whole} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := invoke(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A call with a file is made once: its Reader cannot be read again. It has no timeout of the
// policy.
func TestFilesAreSentOnce(t *testing.T) {
	t.Parallel()
	p := client.Policy{Timeout: time.Second, HedgeAfter: time.Millisecond}
	p.Retry.Burst = 100
	r := open(t, p, func(ctx context.Context, _ *instance) error {
		if _, ok := ctx.Deadline(); ok {
			t.Error("the call has a deadline")
		}
		return errDown
	}, "a:1", "b:1")
	var closed atomic.Int64
	_, err := client.Invoke[answer](t.Context(), r.Client, "Upload", &upload{chassi.File{Reader: closer{strings.NewReader("text"), &closed}}})
	if n := r.at("a:1").calls.Load() + r.at("b:1").calls.Load(); chassi.ErrorOf(err).Code != chassi.Unavailable || n != 1 || closed.Load() != 1 {
		t.Errorf("%v after %d attempts, closed %d times", err, n, closed.Load())
	}
}

// A call with a file, and without a deadline, does not wait longer than Timeout for an instance.
func TestFilesWaitForAnInstance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, began := open(t, client.Policy{Timeout: time.Second}, takes(0)), time.Now()
		var closed atomic.Int64
		_, err := client.Invoke[answer](t.Context(), r.Client, "Upload", &upload{chassi.File{Reader: closer{strings.NewReader("text"), &closed}}})
		if waited := time.Since(began); chassi.ErrorOf(err).Code != chassi.Unavailable || waited != time.Second || closed.Load() != 1 {
			t.Errorf("%v after %v, closed %d times", err, waited, closed.Load())
		}
	})
}

type closer struct {
	io.Reader

	closed *atomic.Int64
}

func (c closer) Close() error { c.closed.Add(1); return nil }
