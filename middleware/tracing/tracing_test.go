package tracing_test

import (
	"context"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/calltest"
	"github.com/chassi-go/chassi/middleware/tracing"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

func tracer(sampler sdktrace.Sampler) (chassi.Middleware, *tracetest.SpanRecorder) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler), sdktrace.WithSpanProcessor(recorder))
	return tracing.New(provider, propagation.TraceContext{}), recorder
}

const (
	traceID     = "0af7651916cd43dd8448eb211c80319c"
	traceparent = "00-" + traceID + "-b7ad6b7169203331-01"
)

func TestTracingContinuesTheCallersTrace(t *testing.T) {
	t.Parallel()
	mw, recorder := tracer(sdktrace.ParentBased(sdktrace.NeverSample()))
	var inside trace.SpanContext
	th := calltest.New(func(ctx context.Context) error {
		inside = trace.SpanContextFromContext(ctx)
		return calltest.ErrBroken
	}, chassi.Public)
	th.Call.In.Set("Traceparent", traceparent)
	_ = th.Run(t.Context(), mw)

	spans := recorder.Ended()
	if len(spans) != 1 {
		t.Fatalf("%d spans, want one", len(spans))
	}
	span := spans[0]
	if span.Name() != "POST /v1/things/{id}" || span.SpanKind() != trace.SpanKindServer || span.Status().Code != codes.Error ||
		span.SpanContext().TraceID().String() != traceID || span.Parent().SpanID().String() != "b7ad6b7169203331" ||
		!span.SpanContext().Equal(inside) {
		t.Errorf("%v %v %v %v", span.Name(), span.SpanKind(), span.Status(), span.SpanContext())
	}
	got := make(map[attribute.Key]string)
	for _, a := range span.Attributes() {
		got[a.Key] = a.Value.String()
	}
	for key, want := range map[attribute.Key]string{
		"http.request.method": "POST", "http.route": "/v1/things/{id}", "http.response.status_code": "413",
		"client.address": "192.0.2.7", "request.id": "request-0001", "error.type": "internal",
	} {
		if got[key] != want {
			t.Errorf("%s is %q, want %q", key, got[key], want)
		}
	}
	if span.Status().Description != "Internal error" {
		t.Errorf("the span tells %q: the cause stays hidden", span.Status().Description)
	}
}

// A call that is refused for what the caller did is no error of the span.
func TestTracingOfARefusal(t *testing.T) {
	t.Parallel()
	mw, recorder := tracer(sdktrace.AlwaysSample())
	_ = calltest.New(func(context.Context) error { return calltest.ErrRefused }, chassi.Public).Run(t.Context(), mw)
	if s := recorder.Ended()[0].Status(); s.Code != codes.Unset {
		t.Errorf("%v", s)
	}
}

// An unsampled call has a trace id for its log lines, and no span.
func TestTracingUnsampled(t *testing.T) {
	t.Parallel()
	mw, recorder := tracer(sdktrace.NeverSample())
	var inside trace.SpanContext
	_ = calltest.New(func(ctx context.Context) error {
		inside = trace.SpanContextFromContext(ctx)
		return nil
	}, chassi.Public).Run(t.Context(), mw)
	if len(recorder.Ended()) != 0 || !inside.HasTraceID() || inside.IsSampled() {
		t.Errorf("%d spans, %v", len(recorder.Ended()), inside)
	}
}

// A traceparent that is none starts a trace of its own.
func TestTracingIgnoresAMalformedParent(t *testing.T) {
	t.Parallel()
	for _, parent := range []string{"nonsense", "00-" + traceID + "-0000000000000000-01", "ff-" + traceID + "-b7ad6b7169203331-01\r\n"} {
		mw, recorder := tracer(sdktrace.AlwaysSample())
		th := calltest.New(calltest.Fine, chassi.Public)
		th.Call.In = calltest.Headers{Header: map[string][]string{"Traceparent": {parent}}}
		_ = th.Run(t.Context(), mw)
		if s := recorder.Ended()[0]; s.SpanContext().TraceID().String() == traceID || s.Parent().IsValid() {
			t.Errorf("%q was believed", parent)
		}
	}
}

// On the calling side the span goes along, whatever the caller's metadata said.
func TestTracingOfAnOutgoingCall(t *testing.T) {
	t.Parallel()
	mw, recorder := tracer(sdktrace.AlwaysSample())
	th := calltest.New(calltest.Fine, chassi.Public)
	th.Binding.Client = true
	th.Call.In.Set("Traceparent", traceparent)
	_ = th.Run(t.Context(), mw)
	span := recorder.Ended()[0]
	want := "00-" + span.SpanContext().TraceID().String() + "-" + span.SpanContext().SpanID().String() + "-01"
	if got := th.Call.In.Get("Traceparent"); got != want || span.SpanKind() != trace.SpanKindClient || got == traceparent {
		t.Errorf("%v, traceparent %s, want %s", span.SpanKind(), got, want)
	}
}
