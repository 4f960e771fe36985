package telemetry

import (
	"context"
	"encoding/binary"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
)

// rootProvider is a tracer provider that decides which new traces are sampled, with the algorithm
// of the SDK's ratio sampler, and calls the SDK only for sampled traces. Unsampled traces, which
// are the majority, take a third of the time that the SDK needs for them.
type rootProvider struct {
	embedded.TracerProvider
	sdk   *sdktrace.TracerProvider
	bound uint64 // traces with an ID below bound are sampled
}

type rootTracer struct {
	embedded.Tracer
	sdk   trace.Tracer
	bound uint64
}

// newRootProvider returns a provider on top of sdk. The ratio must be that of the sampler of sdk,
// and sdk must generate its IDs with drawnIDs.
func newRootProvider(sdk *sdktrace.TracerProvider, ratio float64) rootProvider {
	return rootProvider{sdk: sdk, bound: uint64(min(max(ratio, 0), 1) * (1 << 63))}
}

// Tracer implements [trace.TracerProvider].
func (p rootProvider) Tracer(name string, options ...trace.TracerOption) trace.Tracer {
	return rootTracer{sdk: p.sdk.Tracer(name, options...), bound: p.bound}
}

// Start implements [trace.Tracer]. It calls the SDK if ctx contains a span or the new
// trace is sampled.
func (t rootTracer) Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	if ctx == nil || trace.SpanContextFromContext(ctx).IsValid() {
		return t.sdk.Start(ctx, name, options...) //nolint:spancheck // the caller ends it
	}
	root := newSpanContext()
	id := root.TraceID()
	if binary.BigEndian.Uint64(id[8:])>>1 < t.bound {
		return t.sdk.Start(context.WithValue(ctx, drawnKey{}, id), name, options...) //nolint:spancheck // likewise
	}
	ctx = trace.ContextWithSpanContext(ctx, root)
	return ctx, trace.SpanFromContext(ctx)
}

// drawnIDs generates the IDs of the SDK's spans. The ID of a new trace is the ID that
// rootTracer has generated for it, if there is one.
type drawnIDs struct{}

type drawnKey struct{}

// NewIDs implements [sdktrace.IDGenerator].
func (drawnIDs) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	fresh := newSpanContext()
	if drawn, ok := ctx.Value(drawnKey{}).(trace.TraceID); ok {
		return drawn, fresh.SpanID()
	}
	return fresh.TraceID(), fresh.SpanID()
}

// NewSpanID implements [sdktrace.IDGenerator].
func (drawnIDs) NewSpanID(context.Context, trace.TraceID) trace.SpanID {
	return newSpanContext().SpanID()
}

var (
	_ trace.TracerProvider = rootProvider{}
	_ sdktrace.IDGenerator = drawnIDs{}
)
