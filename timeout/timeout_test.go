package timeout_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/timeout"
)

func TestEndsForDoneAndErr(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		waits, looks := timeout.With(t.Context(), time.Second), timeout.With(t.Context(), time.Second)
		defer waits.End()
		defer looks.End()
		if at, ok := looks.Deadline(); !ok || at.Sub(began) != time.Second || looks.Err() != nil {
			t.Errorf("%v, %v, %v", at, ok, looks.Err())
		}
		<-waits.Done()
		if time.Since(began) != time.Second || !errors.Is(waits.Err(), context.DeadlineExceeded) || !errors.Is(looks.Err(), context.DeadlineExceeded) {
			t.Errorf("after %v: %v, %v", time.Since(began), waits.Err(), looks.Err())
		}
	})
}

func TestParentsComeFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ctx := timeout.With(parent, time.Hour)
		defer ctx.End()
		if at, _ := ctx.Deadline(); time.Until(at) != time.Second {
			t.Errorf("ends in %v, want the parent's second", time.Until(at))
		}
		cancel()
		<-ctx.Done()
		if !errors.Is(ctx.Err(), context.Canceled) {
			t.Error(ctx.Err())
		}
	})
}

func TestEndCancelsWaiters(t *testing.T) {
	t.Parallel()
	ctx := timeout.With(t.Context(), time.Hour)
	child, cancel := context.WithCancel(ctx)
	defer cancel()
	ctx.End()
	<-child.Done()
	late := timeout.With(t.Context(), time.Hour)
	late.End()
	<-late.Done()
	looks := timeout.With(t.Context(), time.Hour)
	looks.End()
	if !errors.Is(looks.Err(), context.Canceled) {
		t.Errorf("%v for one that looks when the work is over", looks.Err())
	}
}

func TestOneAllocation(t *testing.T) {
	ctx := context.Background()
	if n := testing.AllocsPerRun(100, func() {
		c := timeout.With(ctx, time.Hour)
		if c.Err() != nil {
			t.Error(c.Err())
		}
		c.End()
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

// Whoever begins to wait at the moment of the end does not wait for ever.
func TestEndWhileWaitingBegins(t *testing.T) {
	t.Parallel()
	for range 1_000 {
		ctx := timeout.With(t.Context(), time.Hour)
		go ctx.End()
		<-ctx.Done()
	}
}
