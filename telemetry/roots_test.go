package telemetry

import (
	"context"
	"math"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

func roots(ratio float64) (trace.Tracer, *tracetest.SpanRecorder) {
	recorder := tracetest.NewSpanRecorder()
	sdk := sdktrace.NewTracerProvider(sdktrace.WithIDGenerator(drawnIDs{}), sdktrace.WithSpanProcessor(recorder),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(ratio))))
	return newRootProvider(sdk, ratio).Tracer("test"), recorder
}

// What is decided here is what the SDK's sampler decides: each trace drawn as
// sampled is recorded under the ID that was drawn, and the share is right.
func TestRootsAreSampledByRatio(t *testing.T) {
	t.Parallel()
	const n = 20_000
	for _, ratio := range []float64{-1, 0, 0.25, 1, 2} {
		tracer, recorder := roots(ratio)
		sampled := 0
		for range n {
			_, span := tracer.Start(context.Background(), "root")
			if span.SpanContext().IsSampled() != span.IsRecording() || !span.SpanContext().IsValid() {
				t.Fatalf("ratio %v: sampled %v, recording %v", ratio, span.SpanContext().IsSampled(), span.IsRecording())
			}
			if span.IsRecording() {
				sampled++
			}
			span.End()
		}
		want := n * min(max(ratio, 0), 1)
		if math.Abs(float64(sampled)-want) > n/40 || len(recorder.Ended()) != sampled {
			t.Errorf("ratio %v: %d of %d sampled, %d recorded", ratio, sampled, n, len(recorder.Ended()))
		}
	}
}

// A parent decides for its children, with and without a trace of our own above.
func TestChildrenFollowTheirParent(t *testing.T) {
	t.Parallel()
	tracer, recorder := roots(0)
	remote := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, Remote: true})
	ctx, span := tracer.Start(trace.ContextWithRemoteSpanContext(context.Background(), remote), "server")
	_, child := tracer.Start(ctx, "child", trace.WithAttributes(attribute.Bool("kept", true)))
	child.End()
	span.End()
	if ended := recorder.Ended(); len(ended) != 2 || ended[0].Parent().SpanID() != span.SpanContext().SpanID() || ended[1].SpanContext().TraceID() != remote.TraceID() {
		t.Errorf("%d spans", len(ended))
	}
	ctx, root := tracer.Start(context.Background(), "root")
	_, child = tracer.Start(ctx, "child")
	if child.IsRecording() || child.SpanContext().TraceID() != root.SpanContext().TraceID() {
		t.Error("a child of an unsampled root")
	}
}

func TestTimesAreRFC3339Nano(t *testing.T) {
	t.Parallel()
	base := time.Date(2026, 2, 28, 23, 59, 59, 0, time.UTC)
	for _, zone := range []*time.Location{time.UTC, time.FixedZone("", -3*3600), time.FixedZone("", 5*3600+1800)} {
		for _, nanos := range []time.Duration{0, 1, 120, 999_999_999, 500_000_000, time.Second, 90 * time.Minute} {
			at := base.Add(nanos).In(zone)
			if got, want := string(appendTime(nil, at)), `"`+at.Format(time.RFC3339Nano)+`"`; got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
	}
}
