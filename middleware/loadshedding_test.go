package middleware_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/calltest"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/overload"
)

// Of eight places important calls may use all, others six, low-priority ones four; who is refused
// learns when to retry, and nothing of the body is read.
func TestLoadShedding(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		option chassi.EndpointOption
		free   int
	}{
		"important": {chassi.Priority(chassi.High), 8}, "others": {chassi.Idempotent, 6}, "deferrable": {chassi.Priority(chassi.Low), 4},
	} {
		limiter := overload.New(overload.Config{MaxInFlight: 8})
		shed := middleware.LoadShedding(limiter)
		depth := 0
		var last *calltest.Thing
		var err error
		var enter func(context.Context) error
		enter = func(ctx context.Context) error {
			if depth++; depth > 20 {
				return nil
			}
			last = calltest.New(enter, chassi.Public, c.option)
			if e := last.Run(ctx, shed); e != nil && err == nil {
				err = e
			}
			return nil
		}
		_ = enter(t.Context())
		refused := chassi.ErrorOf(err)
		if depth-1 != c.free || refused.Code != chassi.Unavailable || refused.Reason != "overloaded" || refused.RetryAfter != time.Second || last.Body.Decoded != 0 {
			t.Errorf("%s: %d let in, then %v", name, depth-1, err)
		}
		if s := limiter.Stats(); s.InFlight != 0 || s.Refused != 1 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestLoadSheddingSurvivesFailures(t *testing.T) {
	t.Parallel()
	limiter := overload.New(overload.Config{MaxInFlight: 1})
	shed := middleware.LoadShedding(limiter)
	for range 3 {
		if err := calltest.New(func(context.Context) error { return calltest.ErrBroken }, chassi.Public, chassi.Priority(chassi.High)).Run(t.Context(), shed); !errors.Is(err, calltest.ErrBroken) {
			t.Error(err)
		}
		if err := calltest.New(calltest.Panics, chassi.Public, chassi.Priority(chassi.High)).Run(t.Context(), middleware.Recover(), shed); chassi.ErrorOf(err).Code != chassi.Internal {
			t.Error(err)
		}
	}
	if n := limiter.Stats().InFlight; n != 0 {
		t.Errorf("%d are still inside", n)
	}
}
