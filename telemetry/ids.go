package telemetry

import (
	"context"
	"encoding/binary"
	"math/rand/v2"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
)

// idProvider is the tracer provider that is used without an exporter. It assigns a trace ID
// to each call that has none, so that the log lines of a call can be correlated across
// services. It passes on a caller's span unchanged: a span that is not exported, or a cleared
// sampled flag, would break the caller's trace.
type idProvider struct{ embedded.TracerProvider }

type idTracer struct{ embedded.Tracer }

// Tracer implements [trace.TracerProvider].
func (idProvider) Tracer(string, ...trace.TracerOption) trace.Tracer { return idTracer{} }

// Start implements [trace.Tracer]. It returns the span of ctx if that is valid, and otherwise a
// new, unsampled span. It ignores the options.
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

// newSpanContext returns the span context of a new, unsampled trace. Its IDs must be
// unique but need not be secret.
func newSpanContext() trace.SpanContext {
	var c trace.SpanContextConfig
	binary.NativeEndian.PutUint64(c.TraceID[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(c.TraceID[8:], rand.Uint64()|1) // never all zero
	binary.NativeEndian.PutUint64(c.SpanID[:], rand.Uint64()|1)
	return trace.NewSpanContext(c)
}

var _ trace.TracerProvider = idProvider{}
