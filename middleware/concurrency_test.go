package middleware_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/calltest"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/overload"
)

// nested makes calls inside of calls, each from the source that set gives it, until one is
// refused, and returns how many were let in and the refusal.
func nested(t *testing.T, mw chassi.Middleware, set func(*chassi.Call), options ...chassi.EndpointOption) (letIn int, refusal error) {
	t.Helper()
	var enter func(context.Context) error
	enter = func(ctx context.Context) error {
		if letIn++; letIn > 100 {
			return nil
		}
		th := calltest.New(enter, append(options, chassi.Public)...)
		set(th.Call)
		if err := th.Run(ctx, mw); err != nil && refusal == nil {
			refusal = err
			if th.Body.Decoded > 0 {
				t.Error("the body of a refused call was read")
			}
		}
		return nil
	}
	_ = enter(t.Context())
	return letIn - 1, refusal
}

func at(addr string) func(*chassi.Call) {
	return func(c *chassi.Call) { c.Peer = netip.AddrPortFrom(netip.MustParseAddr(addr), 1) }
}

func named(name string) func(*chassi.Call) {
	return func(c *chassi.Call) { c.Peer, c.PeerName = netip.AddrPort{}, name }
}

// A client that has all the calls under way that it may leaves the others theirs, over
// every transport.
func TestConcurrentCallsOfOneClientLeaveCapacityForOthers(t *testing.T) {
	t.Parallel()
	for name, pair := range map[string][2]func(*chassi.Call){
		"IPv4":   {at("192.0.2.1"), at("192.0.2.2")},
		"IPv6":   {at("2001:db8::1"), at("2001:db8:0:1::1")},
		"broker": {named("nats:alice"), named("nats:bob")},
	} {
		mw := middleware.LimitConcurrency(3, nil)
		greedy := 0
		var refusal, other error
		var enter func(context.Context) error
		enter = func(ctx context.Context) error {
			if greedy++; greedy > 10 {
				return nil
			}
			th := calltest.New(enter, chassi.Public)
			pair[0](th.Call)
			if err := th.Run(ctx, mw); err != nil && refusal == nil {
				refusal = err
				beside := calltest.New(calltest.Fine, chassi.Public)
				pair[1](beside.Call)
				other = beside.Run(ctx, mw)
			}
			return nil
		}
		_ = enter(t.Context())
		e := chassi.ErrorOf(refusal)
		if greedy-1 != 3 || e.Code != chassi.ResourceExhausted || e.Reason != "too_many_concurrent_calls" || e.RetryAfter != time.Second {
			t.Errorf("%s: %d let in, then %v", name, greedy-1, refusal)
		}
		if other != nil {
			t.Errorf("%s: another client: %v", name, other)
		}
		if n, _ := nested(t, mw, pair[0]); n != 3 {
			t.Errorf("%s: %d let in after all had ended", name, n)
		}
	}
}

func TestConcurrentCallsInProcessPass(t *testing.T) {
	t.Parallel()
	if n, err := nested(t, middleware.LimitConcurrency(3, nil), named("")); n != 100 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// When few calls are let in at all, one client has half of what its priority may use, so
// that it does not take all of it.
func TestOneClientGetsHalfOfTheLimit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		option chassi.EndpointOption
		limit  int
		code   chassi.Code
	}{
		"important":  {chassi.Priority(chassi.High), 12, chassi.ResourceExhausted},
		"others":     {chassi.Idempotent, 6, chassi.Unavailable},
		"deferrable": {chassi.Priority(chassi.Low), 4, chassi.Unavailable},
	} {
		limiter := overload.New(overload.Config{MaxInFlight: 16})
		n, err := nested(t, middleware.LimitConcurrency(12, limiter), at("192.0.2.1"), c.option)
		if n != c.limit || chassi.ErrorOf(err).Code != c.code {
			t.Errorf("%s: %d let in, then %v", name, n, err)
		}
	}
}

func TestConcurrencyIsReleasedAfterPanics(t *testing.T) {
	t.Parallel()
	mw := middleware.LimitConcurrency(1, nil)
	for range 3 {
		err := calltest.New(calltest.Panics, chassi.Public).Run(t.Context(), middleware.Recover(), mw)
		if chassi.ErrorOf(err).Code != chassi.Internal {
			t.Errorf("%v", err)
		}
	}
}

func BenchmarkLimitConcurrency(b *testing.B) {
	limiter := overload.New(overload.Config{})
	th := calltest.New(calltest.Fine, chassi.Public)
	next := func(context.Context, *chassi.Call) error { return nil }
	h := middleware.LimitConcurrency(limiter.PerClient(), limiter)(th.Binding, next)
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if err := h(ctx, th.Call); err != nil {
			b.Fatal(err)
		}
	}
}
