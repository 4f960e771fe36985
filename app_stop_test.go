package chassi_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi"
	"go.uber.org/goleak"
)

// The managed servers wait until every listener has finished.
func TestAppStopsListenersTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var d diary
		slow := func(context.Context) error { time.Sleep(3 * time.Second); return nil }
		app := newApp(chassi.AppOptions{})
		app.Add(d.plain("database"))
		app.AddServer(chassi.ComponentFunc("http", nil, slow), chassi.ComponentFunc("admin", nil, slow))
		stop := run(t, app)
		began := time.Now()
		if err := stop(); err != nil {
			t.Error(err)
		}
		took(t, began, 3*time.Second)
		d.want(t, "+database", "-database")
	})
}

func TestFailureWhileDrainingEndsTheDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		app := newApp(chassi.AppOptions{DrainDelay: time.Hour})
		broken := &breakable{Component: chassi.ComponentFunc("http", nil, nil), failed: make(chan error, 1)}
		app.AddServer(broken)
		stop := run(t, app)
		go func() {
			time.Sleep(time.Second)
			broken.failed <- io.ErrUnexpectedEOF
		}()
		began := time.Now()
		err := stop()
		took(t, began, time.Second)
		wantText(t, err, "http: unexpected EOF")
	})
}

// Fault 2: readiness says no for the whole drain delay while everything serves.
func TestDrainDelayKeepsServing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var d diary
		app := newApp(chassi.AppOptions{DrainDelay: 5 * time.Second})
		http := &breakable{Component: d.plain("http"), failed: make(chan error)}
		app.Add(d.plain("database"))
		app.AddServer(http)
		stop := run(t, app)
		if h := app.Health(t.Context()); !h.Ready || h.State != "serving" || http.drained.Load() {
			t.Errorf("before the end the health is %+v, drained %v", h, http.drained.Load())
		}
		result := make(chan error)
		began := time.Now()
		go func() { result <- stop() }()

		time.Sleep(5*time.Second - time.Nanosecond)
		synctest.Wait()
		if h := app.Health(t.Context()); h.Ready || h.State != "draining" || !http.drained.Load() {
			t.Errorf("while draining the health is %+v, drained %v", h, http.drained.Load())
		}
		d.want(t, "+database", "+http")

		if err := <-result; err != nil {
			t.Error(err)
		}
		took(t, began, 5*time.Second)
		d.want(t, "+database", "+http", "-http", "-database")
		if h := app.Health(t.Context()); h.Ready || h.State != "stopped" {
			t.Errorf("after the end the health is %+v", h)
		}
	})
}

func TestPanicInDrainIsContained(t *testing.T) {
	t.Parallel()
	var d diary
	app := newApp(chassi.AppOptions{})
	app.AddServer(panickingDrain{d.plain("http")}, d.plain("grpc"))
	if err := run(t, app)(); err != nil {
		t.Error(err)
	}
	if len(d.entries) != 4 {
		t.Errorf("the diary says %q, want two starts and two stops", d.entries)
	}
}

type panickingDrain struct{ chassi.Component }

func (panickingDrain) Drain() { panic("boom") }

// Fault 4: a component that exceeds its time to stop is abandoned and named, and does not delay the
// others.
func TestGraceEndsHungComponents(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		stop func(context.Context) error
		took time.Duration
		want string
	}{
		"follows ctx": {func(ctx context.Context) error { <-ctx.Done(); return errors.New("gave up POST /v1/auth (3)") }, 10 * time.Second, "gave up POST /v1/auth (3)"},
		"ignores ctx": {func(context.Context) error { time.Sleep(time.Hour); return nil }, 10*time.Second + 100*time.Millisecond, "no response"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var d diary
				app := newApp(chassi.AppOptions{Grace: 10 * time.Second})
				app.Add(d.plain("database"))
				app.AddServer(chassi.ComponentFunc("http", nil, c.stop), chassi.ComponentFunc("admin", nil, nil))
				stop := run(t, app)
				began := time.Now()
				err := stop()
				took(t, began, c.took)
				if !errors.Is(err, chassi.ErrGrace) {
					t.Errorf("Run = %v, want ErrGrace", err)
				}
				wantText(t, err, "stop http", c.want)
				if strings.Contains(err.Error(), "admin") {
					t.Errorf("Run = %v blames a server that stopped", err)
				}
				d.want(t, "+database", "-database")
				time.Sleep(time.Hour)
			})
		})
	}
}

// A stuck pool does not cost the telemetry its flush.
func TestStuckManagedServerLeavesTimeToOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var left time.Duration
		app := newApp(chassi.AppOptions{Grace: 10 * time.Second})
		app.Add(chassi.ComponentFunc("telemetry", nil, func(ctx context.Context) error {
			deadline, _ := ctx.Deadline()
			left = time.Until(deadline)
			return ctx.Err()
		}), chassi.ComponentFunc("pool", nil, untilDone))
		stop := run(t, app)
		began := time.Now()
		wantText(t, stop(), "stop pool")
		took(t, began, 10*time.Second)
		if left != time.Second {
			t.Errorf("telemetry had %v to flush, want 1s", left)
		}
	})
}

func TestRunReturnsAllErrorsAndPanicsOfStop(t *testing.T) {
	t.Parallel()
	var d diary
	app := newApp(chassi.AppOptions{})
	app.Add(d.plain("telemetry"), d.server("pool", nil, func(context.Context) error { panic("boom") }), d.server("database", nil, fails(io.EOF)))
	app.AddServer(d.server("http", nil, func(context.Context) error { panic("bang") }))
	err := run(t, app)()
	wantText(t, err, "stop http", "bang", "stop database: EOF", "stop pool", "boom")
	if errors.Is(err, chassi.ErrGrace) {
		t.Errorf("Run = %v is ErrGrace though nothing took long", err)
	}
	d.want(t, "+telemetry", "+pool", "+database", "+http", "-http", "-database", "-pool", "-telemetry")
}

// Fault 10.
func TestHundredCyclesDoNotLeak(t *testing.T) {
	before := goleak.IgnoreCurrent()
	for range 100 {
		app := newApp(chassi.AppOptions{})
		app.Add(&breakable{Component: chassi.ComponentFunc("database", nil, nil), failed: make(chan error)})
		app.AddServer(&breakable{Component: chassi.ComponentFunc("http", nil, nil), failed: make(chan error)})
		app.AddCheck("database", func(context.Context) error { return nil })
		stop := run(t, app)
		if !app.Health(t.Context()).Ready {
			t.Fatal("not ready")
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	}
	goleak.VerifyNone(t, before)
}

// Whatever ends a run, and however often at once, each server stops once.
func TestHammeredStopHappensOnce(t *testing.T) {
	t.Parallel()
	for round := range 50 {
		var starts, stops atomic.Int32
		count := func(n *atomic.Int32) func(context.Context) error {
			return func(context.Context) error { n.Add(1); return nil }
		}
		app := newApp(chassi.AppOptions{})
		http := &breakable{Component: chassi.ComponentFunc("http", count(&starts), count(&stops)), failed: make(chan error, 1)}
		app.Add(chassi.ComponentFunc("database", count(&starts), count(&stops)))
		app.AddServer(http)

		ctx, cancel := context.WithCancel(t.Context())
		moment := app.Started()
		if round%2 == 0 {
			moment = ctx.Done() // the first end comes at any time, the start included
			http.failed <- io.EOF
		}
		ended := make(chan struct{})
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				select {
				case <-moment:
				case <-ended:
				}
				cancel()
				app.Health(context.Background())
			})
		}
		if round%2 == 0 {
			go cancel()
		}
		if err := app.Run(ctx); err != nil && !errors.Is(err, io.EOF) {
			t.Errorf("Run = %v", err)
		}
		close(ended)
		wg.Wait()
		cancel()
		if starts.Load() != stops.Load() {
			t.Errorf("%d starts, %d stops", starts.Load(), stops.Load())
		}
	}
}
