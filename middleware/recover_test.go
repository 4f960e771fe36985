package middleware_test

import (
	"context"
	"errors"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/calltest"
	"github.com/chassi-go/chassi/middleware"
)

func TestRecoverHidesThePanicAndKeepsItsStack(t *testing.T) {
	t.Parallel()
	err := calltest.New(calltest.Panics, chassi.Public).Run(t.Context(), middleware.Recover())
	e := chassi.ErrorOf(err)
	var panicked *chassi.PanicError
	if e.Code != chassi.Internal || e.Message != "Internal error" || !errors.As(err, &panicked) || len(panicked.Stack) == 0 {
		t.Errorf("%#v", err)
	}
	// A panic in a middleware inside of it is one too.
	err = calltest.New(calltest.Fine, chassi.Public).Run(t.Context(), middleware.Recover(), func(*chassi.Binding, chassi.Handler) chassi.Handler {
		return func(context.Context, *chassi.Call) error { panic(calltest.ErrBroken) }
	})
	if !errors.As(err, &panicked) || panicked.Value != calltest.ErrBroken {
		t.Errorf("%#v", err)
	}
}

// Only faults of ours are reported, each once, with the call in the context.
func TestExceptions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method func(context.Context) error
		want   int
	}{
		"success": {calltest.Fine, 0}, "refusal": {func(context.Context) error { return calltest.ErrRefused }, 0},
		"given up": {func(context.Context) error { return context.Canceled }, 0},
		"fault":    {func(context.Context) error { return calltest.ErrBroken }, 1}, "panic": {calltest.Panics, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var reported []error
			report := func(ctx context.Context, err error) {
				if chassi.CallFrom(ctx).RequestID != "request-0001" {
					t.Error("the context does not know the call")
				}
				reported = append(reported, err)
			}
			_ = calltest.New(c.method, chassi.Public).Run(t.Context(), middleware.ErrorReporting(report), middleware.Recover())
			if len(reported) != c.want {
				t.Errorf("reported %v, want %d", reported, c.want)
			}
		})
	}
}
