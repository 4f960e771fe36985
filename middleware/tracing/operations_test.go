package tracing_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/calltrace"
	"github.com/chassi-go/chassi/internal/calltest"
)

// R102: what packages report of a call has spans below that of the call.
func TestOperationsHaveSpans(t *testing.T) {
	t.Parallel()
	mw, recorder := tracer(sdktrace.AlwaysSample(), nil)
	_ = calltest.New(func(ctx context.Context) error {
		step := func(ctx context.Context, o calltrace.Operation, code, failure string) context.Context {
			ctx, end := calltrace.From(ctx)(ctx, o)
			end(code, failure)
			return ctx
		}
		step(ctx, calltrace.Operation{System: "postgresql", Namespace: "app", Name: "SELECT", Target: "users"}, "42P01", "")
		step(ctx, calltrace.Operation{System: "sqlite", Name: "BEGIN"}, "", "timeout")
		step(ctx, calltrace.Operation{System: "redis", Namespace: "0", Name: "EVALSHA", Target: "take"}, "", "")
		inner := step(ctx, calltrace.Operation{Name: "run", Target: "hashing"}, "", "")
		step(inner, calltrace.Operation{Name: "inside"}, "", "")
		return nil
	}, chassi.Public).Run(t.Context(), mw)
	want := []struct {
		name       string
		kind       trace.SpanKind
		status     codes.Code
		attributes map[string]string
	}{
		{"SELECT users", trace.SpanKindClient, codes.Error, map[string]string{
			"db.system.name": "postgresql", "db.namespace": "app", "db.operation.name": "SELECT", "db.collection.name": "users",
			"db.query.summary": "SELECT users", "db.response.status_code": "42P01", "error.type": "42P01",
		}},
		{"BEGIN", trace.SpanKindClient, codes.Error, map[string]string{
			"db.system.name": "sqlite", "db.operation.name": "BEGIN", "db.query.summary": "BEGIN", "error.type": "timeout",
		}},
		{"EVALSHA take", trace.SpanKindClient, codes.Unset, map[string]string{
			"db.system.name": "redis", "db.namespace": "0", "db.operation.name": "EVALSHA", "db.stored_procedure.name": "take",
		}},
		{"run hashing", trace.SpanKindInternal, codes.Unset, map[string]string{}},
		{"inside", trace.SpanKindInternal, codes.Unset, map[string]string{}},
	}
	spans := recorder.Ended()
	if len(spans) != len(want)+1 {
		t.Fatalf("%d spans", len(spans))
	}
	call := spans[len(want)]
	for i, w := range want {
		s, attributes := spans[i], make(map[string]string)
		for _, a := range s.Attributes() {
			attributes[string(a.Key)] = a.Value.String()
		}
		if diff := cmp.Diff(w.attributes, attributes); diff != "" || s.Name() != w.name || s.SpanKind() != w.kind || s.Status().Code != w.status {
			t.Errorf("%s %s %v, want %v: %s", s.Name(), s.SpanKind(), s.Status(), w, diff)
		}
		parent := call.SpanContext().SpanID()
		if w.name == "inside" {
			parent = spans[i-1].SpanContext().SpanID()
		}
		if s.Parent().SpanID() != parent || s.SpanContext().TraceID() != call.SpanContext().TraceID() {
			t.Errorf("%s has the parent %s, want %s", w.name, s.Parent().SpanID(), parent)
		}
	}
}

// A call that is not sampled has no hook, so that its operations cost nothing.
func TestOperationsOfAnUnsampledCall(t *testing.T) {
	t.Parallel()
	mw, _ := tracer(sdktrace.NeverSample(), nil)
	ran := false
	_ = calltest.New(func(ctx context.Context) error {
		ran = calltrace.From(ctx) == nil
		return nil
	}, chassi.Public).Run(t.Context(), mw)
	if !ran {
		t.Error("an unsampled call has a tracer")
	}
}
