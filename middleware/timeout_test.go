package middleware_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/middleware"
)

// bound runs method through the Deadline middleware.
func bound(ctx context.Context, d time.Duration, method func(context.Context) error, options ...chassi.EndpointOption) error {
	call := func(ctx context.Context, _ *struct{}) (*struct{}, error) { return &struct{}{}, method(ctx) }
	e := chassi.NewEndpoint("Call", call, append(options, chassi.Public)...)
	return invoke[struct{}](e, middleware.Timeout(d))(ctx, &struct{}{})
}

func TestDeadlineEndsTheCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		err := bound(t.Context(), time.Second, func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %v, want the deadline after 1s", err, time.Since(began))
		}
		err = bound(t.Context(), time.Second, func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}, chassi.Timeout(time.Minute))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second+time.Minute {
			t.Errorf("%v after %v, want the endpoint's own deadline", err, time.Since(began))
		}
	})
}

func TestDeadlineWithoutWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		err := bound(t.Context(), time.Second, func(ctx context.Context) error {
			if at, ok := ctx.Deadline(); !ok || time.Until(at) != time.Second || ctx.Err() != nil {
				t.Errorf("deadline in %v, %v, error %v", time.Until(at), ok, ctx.Err())
			}
			time.Sleep(2 * time.Second)
			return ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want the deadline though nobody waited", err)
		}
	})
}

func TestDeadlineKeepsTheCallers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := bound(ctx, time.Hour, func(ctx context.Context) error {
			if at, _ := ctx.Deadline(); time.Until(at) != time.Second {
				t.Errorf("deadline in %v, want the caller's", time.Until(at))
			}
			<-ctx.Done()
			return ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		called := false
		err = bound(ctx, time.Hour, func(context.Context) error { called = true; return nil })
		if !errors.Is(err, context.DeadlineExceeded) || called {
			t.Errorf("a call that came too late: %v, called %v", err, called)
		}
	})
}

func TestDeadlineReachesDerivedContexts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var kept, late context.Context
		err := bound(t.Context(), time.Second, func(ctx context.Context) error {
			child, cancel := context.WithCancel(ctx)
			defer cancel()
			kept, late = child, ctx
			if chassi.CallFrom(child) == nil {
				t.Error("the child has lost its call")
			}
			<-child.Done()
			return child.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) || kept.Err() == nil {
			t.Error(err)
		}
		<-late.Done()
		err = bound(t.Context(), time.Hour, func(ctx context.Context) error { late = ctx; return nil })
		if err != nil {
			t.Error(err)
		}
		<-late.Done() // a call that is over has ended its context, for those who look only then
	})
}
