package chassi_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi"
)

func TestHealthProbesAllAtOnceInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := func(d time.Duration, err error) func(context.Context) error {
			return func(context.Context) error { time.Sleep(d); return err }
		}
		app := newApp(chassi.AppOptions{})
		app.AddCheck("database", slow(2*time.Second-1, nil))
		app.AddCheck("cache", slow(time.Second, io.EOF))
		app.AddCheck("broker", slow(0, nil))
		stop := run(t, app)
		defer stop()
		began := time.Now()
		h := app.Health(t.Context())
		took(t, began, 2*time.Second-1)
		if h.Ready || h.State != "serving" {
			t.Errorf("health is %+v, want not ready: the cache is gone", h)
		}
		for i, want := range []chassi.CheckResult{
			{Name: "database", Status: "ok", Took: 2*time.Second - 1},
			{Name: "cache", Status: "failing", Err: io.EOF, Took: time.Second},
			{Name: "broker", Status: "ok"},
		} {
			if h.Checks[i] != want {
				t.Errorf("check %d is %+v, want %+v", i, h.Checks[i], want)
			}
		}
	})
}

// What is only informed about does not decide.
func TestInform(t *testing.T) {
	t.Parallel()
	app := newApp(chassi.AppOptions{})
	app.AddStatus("billing", func() (status, detail string) { return "degraded", "2 instances; a:1 breaker open" })
	stop := run(t, app)
	h := app.Health(t.Context())
	if want := (chassi.CheckResult{Name: "billing", Status: "degraded", Detail: "2 instances; a:1 breaker open", Optional: true}); !h.Ready || len(h.Checks) != 1 || h.Checks[0] != want {
		t.Errorf("%+v", h)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestHealthIsLive(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	app := newApp(chassi.AppOptions{})
	app.AddCheck("database", func(context.Context) error {
		if down.Load() {
			return io.EOF
		}
		return nil
	})
	if app.Health(t.Context()).Ready {
		t.Error("ready before the start")
	}
	stop := run(t, app)
	for _, isDown := range []bool{false, true, false} {
		down.Store(isDown)
		if got := app.Health(t.Context()).Ready; got == isDown {
			t.Errorf("ready is %v while the database being down is %v", got, isDown)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// One hanging driver and one that panics cost the response no more than CheckTimeout.
func TestHealthBoundsAndContainsProbes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		app := newApp(chassi.AppOptions{CheckTimeout: 3 * time.Second})
		app.AddCheck("deaf", func(context.Context) error { time.Sleep(time.Hour); return nil })
		app.AddCheck("polite", untilDone)
		app.AddCheck("mad", func(context.Context) error { panic("boom") })
		app.AddCheck("none", nil)
		app.AddCheck("fine", func(context.Context) error { return nil })
		began := time.Now()
		h := app.Health(t.Context())
		took(t, began, 3*time.Second)
		for _, c := range h.Checks[:2] {
			if !errors.Is(c.Err, context.DeadlineExceeded) || c.Took != 3*time.Second {
				t.Errorf("%s: %v after %v", c.Name, c.Err, c.Took)
			}
		}
		for _, c := range h.Checks[2:4] {
			if p := new(chassi.PanicError); !errors.As(c.Err, &p) {
				t.Errorf("%s: %v, want the panic", c.Name, c.Err)
			}
		}
		if h.Checks[4].Err != nil {
			t.Errorf("fine: %v", h.Checks[4].Err)
		}
		time.Sleep(time.Hour)
	})
}

func TestHealthEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		app := newApp(chassi.AppOptions{})
		app.AddCheck("polite", untilDone)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		app.Health(ctx)
		took(t, began, time.Second)
	})
}

// Readiness polled for hours against a driver that ignores its context must not
// pile up goroutines, and must recover with the driver.
func TestHungProbesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var started atomic.Int32
		app := newApp(chassi.AppOptions{CheckTimeout: time.Second})
		app.AddCheck("deaf", func(context.Context) error { started.Add(1); <-release; return nil })
		for range 100 {
			if err := app.Health(t.Context()).Checks[0].Err; err == nil {
				t.Fatal("a hung dependency is healthy")
			}
		}
		if n := started.Load(); n != 16 {
			t.Errorf("%d probes were started, want 16", n)
		}
		close(release)
		synctest.Wait()
		if err := app.Health(t.Context()).Checks[0].Err; err != nil {
			t.Errorf("after the driver came back: %v", err)
		}
	})
}

// However many ask, and however often, a dependency is probed once in the time that they allow; a
// caller that gives up does not end the probe of the others.
func TestRecentHealthSharesProbes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var probes atomic.Int32
		var broken atomic.Bool
		app := newApp(chassi.AppOptions{})
		app.AddCheck("database", func(ctx context.Context) error {
			probes.Add(1)
			time.Sleep(100 * time.Millisecond)
			if broken.Load() {
				return io.EOF
			}
			return ctx.Err()
		})
		stop := run(t, app)
		impatient, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() {
			h := app.RecentHealth(impatient, time.Second)
			if h.Ready || !errors.Is(h.Checks[0].Err, context.DeadlineExceeded) {
				t.Errorf("the caller that gave up received %+v", h)
			}
		})
		for range 1000 {
			all.Go(func() {
				if h := app.RecentHealth(t.Context(), time.Second); !h.Ready || len(h.Checks) != 1 {
					t.Errorf("%+v", h)
				}
			})
		}
		all.Wait()
		time.Sleep(800 * time.Millisecond)
		broken.Store(true)
		if h := app.RecentHealth(t.Context(), time.Second); !h.Ready || probes.Load() != 1 {
			t.Errorf("%+v after %d probes", h, probes.Load())
		}
		time.Sleep(100 * time.Millisecond)
		if h := app.RecentHealth(t.Context(), time.Second); h.Ready || probes.Load() != 2 {
			t.Errorf("%+v after %d probes", h, probes.Load())
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if h := app.RecentHealth(t.Context(), time.Hour); h.Ready || h.State != "stopped" {
			t.Errorf("after the end: %+v", h)
		}
	})
}

// A round that lasts longer than the time allowed is waited for, not repeated.
func TestRecentHealthWaitsForSlowProbes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var probes atomic.Int32
		app := newApp(chassi.AppOptions{})
		app.AddCheck("slow", func(context.Context) error { probes.Add(1); time.Sleep(1500 * time.Millisecond); return nil })
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() { app.RecentHealth(t.Context(), 10*time.Millisecond) })
			time.Sleep(100 * time.Millisecond)
		}
		all.Wait()
		if n := probes.Load(); n != 1 {
			t.Errorf("%d probes at once", n)
		}
	})
}
