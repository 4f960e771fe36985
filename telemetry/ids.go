package telemetry

import (
	"context"
	"encoding/binary"
	"math/rand/v2"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
)

// idProvider is the tracer provider without an exporter. It assigns a trace id to each call
// that has none, so that the log lines of one call can be correlated across services. It passes
// on a caller's span unchanged: a span that is not exported, or a cleared sampled flag, would
// break the caller's trace.
type idProvider struct{ embedded.TracerProvider }

type idTracer struct{ embedded.Tracer }

// Tracer implements [trace.TracerProvider].
func (idProvider) Tracer(string, ...trace.TracerOption) trace.Tracer { return idTracer{} }

// Start implements [trace.Tracer]. It ignores the options.
func (idTracer) Start(ctx context.Context, _ string, _ ...trace.SpanStartOption) (context.Context, trace.Span) {
	if ctx == nil {
		ctx = context.Background() // as the SDK does
	}
	span := trace.SpanContextFromContext(ctx)
	if !span.IsValid() {
		span = newSpanContext()
	}
	ctx = trace.ContextWithSpanContext(ctx, span)
	return ctx, trace.SpanFromContext(ctx)
}

// newSpanContext returns a context with a new trace, not sampled. Its ids need to be unique,
// not secret.
func newSpanContext() trace.SpanContext {
	var c trace.SpanContextConfig
	binary.NativeEndian.PutUint64(c.TraceID[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(c.TraceID[8:], rand.Uint64()|1) // never all zero
	binary.NativeEndian.PutUint64(c.SpanID[:], rand.Uint64()|1)
	return trace.NewSpanContext(c)
}

var _ trace.TracerProvider = idProvider{}
