package middleware_test

import (
	"context"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/calltest"
	"github.com/chassi-go/chassi/middleware"
)

func pass(_ *chassi.Binding, next chassi.Handler) chassi.Handler { return next }

func stack() *middleware.Stack {
	return middleware.NewStack(middleware.Layer{Name: "logging", Middleware: pass}, middleware.Layer{Name: "timeout", Middleware: pass})
}

func TestStack(t *testing.T) {
	t.Parallel()
	layers := []middleware.Layer{{Name: "a", Middleware: pass}, {Name: "b", Middleware: pass}}
	for name, c := range map[string]struct {
		change func(s *middleware.Stack)
		want   string
		err    string
	}{
		"unchanged":      {func(*middleware.Stack) {}, "logging timeout", ""},
		"before":         {func(s *middleware.Stack) { s.InsertBefore("timeout", layers...) }, "logging a b timeout", ""},
		"before all":     {func(s *middleware.Stack) { s.InsertBefore("logging", layers...) }, "a b logging timeout", ""},
		"after":          {func(s *middleware.Stack) { s.InsertAfter("timeout", layers...) }, "logging timeout a b", ""},
		"replaced":       {func(s *middleware.Stack) { s.Replace("timeout", pass) }, "logging timeout", ""},
		"removed":        {func(s *middleware.Stack) { s.Remove("timeout", "logging") }, "", ""},
		"unknown name":   {func(s *middleware.Stack) { s.InsertAfter("logs", layers...) }, "logging timeout", `no layer "logs"; it has logging, timeout`},
		"unknown remove": {func(s *middleware.Stack) { s.Remove("logs", "timeout") }, "logging", `no layer "logs"`},
		"twice": {func(s *middleware.Stack) {
			s.InsertAfter("logging", middleware.Layer{Name: "timeout", Middleware: pass})
		}, "logging timeout", `already has a layer "timeout"`},
		"nil":             {func(s *middleware.Stack) { s.InsertAfter("logging", middleware.Layer{Name: "x"}) }, "logging timeout", `"x" needs a name and a middleware`},
		"no name":         {func(s *middleware.Stack) { s.InsertAfter("logging", middleware.Layer{Middleware: pass}) }, "logging timeout", `needs a name`},
		"replaced by nil": {func(s *middleware.Stack) { s.Replace("timeout", nil) }, "logging timeout", `"timeout" needs a name and a middleware`},
	} {
		s := stack()
		c.change(s)
		if got := strings.Join(s.Names(), " "); got != c.want || len(s.Middleware()) != len(s.Names()) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if err := s.Err(); (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: error %v, want %q", name, err, c.err)
		}
	}
}

func TestStackRunsTheFirstLayerOutermost(t *testing.T) {
	t.Parallel()
	var order []string
	note := func(name string) middleware.Layer {
		return middleware.Layer{Name: name, Middleware: func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
			return func(ctx context.Context, call *chassi.Call) error {
				order = append(order, name)
				return next(ctx, call)
			}
		}}
	}
	s := middleware.NewStack(note("a"), note("c"))
	s.InsertBefore("c", note("b"))
	if err := calltest.New(calltest.Fine, chassi.Public).Run(t.Context(), s.Middleware()...); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(order, " "); got != "a b c" {
		t.Error(got)
	}
}

func TestOnly(t *testing.T) {
	t.Parallel()
	ran := false
	mark := func(_ *chassi.Binding, next chassi.Handler) chassi.Handler { ran = true; return next }
	th := calltest.New(calltest.Fine, chassi.Public)
	th.Call.Transport = "grpc"
	for _, c := range []struct {
		transports []string
		want       bool
	}{{[]string{"grpc"}, true}, {[]string{"nats", "grpc"}, true}, {[]string{"http"}, false}, {nil, false}} {
		ran = false
		if err := th.Run(t.Context(), middleware.Only(mark, c.transports...)); err != nil || ran != c.want {
			t.Errorf("%q: %v, ran %t", c.transports, err, ran)
		}
	}
}
