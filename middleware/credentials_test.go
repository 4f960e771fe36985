package middleware_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/calltest"
	"github.com/chassi-go/chassi/middleware"
)

func TestSendBearer(t *testing.T) {
	t.Parallel()
	for token, want := range map[string]string{"abc": "Bearer abc", "": ""} {
		th := calltest.New(calltest.Fine, chassi.Public)
		err := th.Run(t.Context(), middleware.SendBearer(func(context.Context) (string, error) { return token, nil }))
		if got := th.Call.In.Get("Authorization"); err != nil || got != want {
			t.Errorf("sent %q, %v, want %q", got, err, want)
		}
	}
	failed := errors.New("no token to be had")
	if err := calltest.New(calltest.Fine, chassi.Public).Run(t.Context(), middleware.SendBearer(func(context.Context) (string, error) { return "", failed })); !errors.Is(err, failed) {
		t.Errorf("%v", err)
	}
}

func TestForwardAuthorization(t *testing.T) {
	t.Parallel()
	outer, inner := calltest.New(calltest.Fine, chassi.Public), calltest.New(calltest.Fine, chassi.Public)
	outer.Call.In.Set("Authorization", "Bearer abc")
	// A client's call does not replace the served one in the context.
	handler := middleware.ForwardAuthorization()(inner.Binding, func(context.Context, *chassi.Call) error { return nil })
	if err := handler(outer.Call.Context(t.Context()), inner.Call); err != nil || inner.Call.In.Get("Authorization") != "Bearer abc" {
		t.Errorf("%v, %v", inner.Call.In, err)
	}
	alone := calltest.New(calltest.Fine, chassi.Public)
	if err := middleware.ForwardAuthorization()(alone.Binding, func(context.Context, *chassi.Call) error { return nil })(t.Context(), alone.Call); err != nil || alone.Call.In.Get("Authorization") != "" {
		t.Errorf("%v, %v", alone.Call.In, err)
	}
}

func TestForwardClientAddr(t *testing.T) {
	t.Parallel()
	outer, inner := calltest.New(calltest.Fine, chassi.Public), calltest.New(calltest.Fine, chassi.Public)
	handler := middleware.ForwardClientAddr()(inner.Binding, func(context.Context, *chassi.Call) error { return nil })
	if err := handler(outer.Call.Context(t.Context()), inner.Call); err != nil || inner.Call.In.Get("X-Forwarded-For") != "192.0.2.7" {
		t.Errorf("%v, %v", inner.Call.In, err)
	}
	alone := calltest.New(calltest.Fine, chassi.Public)
	outer.Call.Peer = netip.AddrPort{}
	for name, ctx := range map[string]context.Context{"no call": t.Context(), "no address": outer.Call.Context(t.Context())} {
		if err := handler(ctx, alone.Call); err != nil || alone.Call.In.Get("X-Forwarded-For") != "" {
			t.Errorf("%s: %v, %v", name, alone.Call.In, err)
		}
	}
}
