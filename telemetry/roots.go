package telemetry

import (
	"context"
	"encoding/binary"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
)

// rootProvider decides which new traces are sampled, with the algorithm of the SDK's ratio
// sampler, and calls the SDK only for those. Unsampled traces, which are the majority, cost a
// third of the time.
type rootProvider struct {
	embedded.TracerProvider
	sdk   *sdktrace.TracerProvider
	bound uint64 // trace ids below it are sampled
}

type rootTracer struct {
	embedded.Tracer
	sdk   trace.Tracer
	bound uint64
}

// newRootProvider returns a provider on top of sdk. Ratio must be that of the sampler of sdk,
// and sdk must generate its ids with drawnIDs.
func newRootProvider(sdk *sdktrace.TracerProvider, ratio float64) rootProvider {
	return rootProvider{sdk: sdk, bound: uint64(min(max(ratio, 0), 1) * (1 << 63))}
}

// Tracer implements [trace.TracerProvider].
func (p rootProvider) Tracer(name string, options ...trace.TracerOption) trace.Tracer {
	return rootTracer{sdk: p.sdk.Tracer(name, options...), bound: p.bound}
}

// Start implements [trace.Tracer].
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

// drawnIDs generates the ids of the SDK. The id of a new trace is the one that rootTracer has
// drawn for it.
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
