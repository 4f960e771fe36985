package calltrace_test

import (
	"context"
	"testing"
	"time"

	"github.com/chassi-go/chassi/calltrace"
)

func TestTracerOfAContext(t *testing.T) {
	t.Parallel()
	if calltrace.From(t.Context()) != nil {
		t.Error("a context without a tracer has one")
	}
	var got calltrace.Operation
	ctx := calltrace.WithTracer(t.Context(), func(ctx context.Context, o calltrace.Operation) (context.Context, calltrace.End) {
		got = o
		return ctx, func(string, string) {}
	})
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	_, end := calltrace.From(ctx)(ctx, calltrace.Operation{Name: "SELECT", Target: "users"})
	end("", "")
	if got.String() != "SELECT users" || (calltrace.Operation{Name: "BEGIN"}).String() != "BEGIN" {
		t.Errorf("%q", got)
	}
}

func TestNoTracerAllocatesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if n := testing.AllocsPerRun(100, func() {
		if calltrace.From(ctx) != nil {
			t.Error("a tracer out of nowhere")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
