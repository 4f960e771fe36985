package chassi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi"
)

// runWith runs an App with one background component until stop, or until it ends.
func runWith(t *testing.T, c chassi.Component, after time.Duration) (health chassi.Health, log string, err error) {
	t.Helper()
	var buffer bytes.Buffer
	app := chassi.NewApp("test", chassi.AppOptions{Logger: slog.New(slog.NewTextHandler(&buffer, nil))})
	app.Add(c)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- app.Run(ctx) }()
	select {
	case err = <-result:
	case <-time.After(after):
		health = app.Health(ctx)
		cancel()
		err = <-result
	}
	return health, buffer.String(), err
}

func TestBackgroundEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		health, log, err := runWith(t, chassi.Background("worker", chassi.StopOnExit, func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}), time.Hour)
		if err != nil || !health.Ready || strings.Contains(log, "worker") {
			t.Errorf("%v %+v %s", err, health, log)
		}
	})
}

func TestBackgroundThatReturnsStopsTheApp(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		run  func() error
		want string
	}{
		"nil":    {func() error { return nil }, ""},
		"error":  {func() error { return broken }, "worker: broken"},
		"panic":  {func() error { panic("oops") }, "oops"},
		"Goexit": {func() error { runtime.Goexit(); return nil }, "exited"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				_, log, err := runWith(t, chassi.Background("worker", chassi.StopOnExit, func(context.Context) error { return c.run() }), time.Hour)
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("Run returned %v", err)
				}
				if !strings.Contains(log, "component=worker") || strings.Contains(c.want, "oops") && !strings.Contains(log, "background_test.go") {
					t.Errorf("the log does not name the component, or has no stack:\n%s", log)
				}
			})
		})
	}
}

// A function that fails is called after 1, 2, 4, ... 60 s, and at once readable in readiness.
func TestBackgroundRestarts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		began := time.Now()
		var latest time.Duration
		c := chassi.Background("worker", chassi.RestartOnExit, func(context.Context) error {
			calls.Add(1)
			latest = time.Since(began)
			panic("oops")
		})
		health, log, err := runWith(t, chassi.Optional(c), 130*time.Second)
		if err != nil || calls.Load() != 8 || latest != (1+2+4+8+16+32+60)*time.Second {
			t.Errorf("%v: called %d times, last after %v", err, calls.Load(), latest)
		}
		if len(health.Checks) != 1 || health.Checks[0].Status != "degraded" || !health.Ready {
			t.Errorf("health: %+v", health)
		}
		if n := strings.Count(log, "background component failed"); n != 8 {
			t.Errorf("%d lines:\n%s", n, log)
		}
	})
}

// A failed dependency has a check of its own, and is back as soon as that succeeds.
func TestBackgroundOfADependency(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]error{
		"unavailable": chassi.NewError(chassi.Unavailable, "unavailable", "away"), "timeout": fmt.Errorf("query: %w", context.DeadlineExceeded),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := chassi.Background("worker", chassi.RestartOnExit, func(context.Context) error { return failure })
				health, log, err := runWith(t, c, 10*time.Second)
				if err != nil || !health.Ready {
					t.Errorf("%v, %+v", err, health)
				}
				if strings.Count(log, "level=WARN") != 4 || strings.Contains(log, "level=ERROR") {
					t.Errorf("the log:\n%s", log)
				}
			})
		})
	}
}

func TestBackgroundIsHealthyAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		c := chassi.Background("worker", chassi.RestartOnExit, func(ctx context.Context) error {
			if calls.Add(1) == 1 {
				return nil // a worker must not
			}
			<-ctx.Done()
			return nil
		})
		health, _, err := runWith(t, c, 30*time.Second)
		if err != nil || health.Ready || calls.Load() != 2 {
			t.Errorf("30 s after a failure: %v, %d calls, %+v", err, calls.Load(), health)
		}
		calls.Store(0)
		if health, _, err = runWith(t, c, 70*time.Second); err != nil || !health.Ready {
			t.Errorf("70 s after a failure: %v %+v", err, health)
		}
	})
}

func TestBackgroundMayEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		health, log, err := runWith(t, chassi.Background("import", chassi.IgnoreExit, func(context.Context) error { return errors.New("broken") }), time.Minute)
		if err != nil || !health.Ready || !strings.Contains(log, "broken") {
			t.Errorf("%v %+v %s", err, health, log)
		}
	})
}

// A component that ends while another one is still starting stops the App too.
func TestBackgroundEndsDuringStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		app := chassi.NewApp("test", chassi.AppOptions{Logger: slog.New(slog.DiscardHandler)})
		app.Add(chassi.Background("worker", chassi.StopOnExit, func(context.Context) error { return nil }))
		app.Add(slowStart{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := app.Run(ctx); err != nil || ctx.Err() != nil {
			t.Errorf("Run returned %v, context %v; want nil before the end of the context", err, ctx.Err())
		}
	})
}

// slowStart is a component whose Start returns when its context ends.
type slowStart struct{}

func (slowStart) Name() string                    { return "slow" }
func (slowStart) Start(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
func (slowStart) Stop(context.Context) error      { return nil }

func TestBackgroundThatDoesNotStopIsNamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		_, _, err := runWith(t, chassi.Background("worker", chassi.StopOnExit, func(context.Context) error { <-release; return nil }), time.Second)
		if !errors.Is(err, chassi.ErrGrace) || !strings.Contains(err.Error(), "worker") {
			t.Errorf("Run returned %v", err)
		}
		close(release)
	})
}

func TestEndpointMiddleware(t *testing.T) {
	t.Parallel()
	var order []string
	note := func(name string) chassi.Middleware {
		return func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
			return func(ctx context.Context, call *chassi.Call) error {
				order = append(order, name)
				return next(ctx, call)
			}
		}
	}
	s := chassi.NewService("test.v1.Test", chassi.NewEndpoint("Greet", func(context.Context, *request) (*response, error) {
		order = append(order, "method")
		return &response{}, nil
	}, chassi.Public, chassi.With(note("first"), note("second")))).Use(note("service"))
	if _, err := localOf(t, s, note("transport"))(t.Context(), &request{}); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(order, " "), "transport service first second method"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if err := chassi.NewService("test.v1.Test", chassi.NewEndpoint("Greet", func(context.Context, *request) (*response, error) {
		return &response{}, nil
	}, chassi.With(nil))).Err(); err == nil || !strings.Contains(err.Error(), "nil middleware") {
		t.Errorf("a nil middleware: %v", err)
	}
}
