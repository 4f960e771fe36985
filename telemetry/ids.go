package telemetry

import (
	"context"
	"encoding/binary"
	"math/rand/v2"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
)

// idProvider is the tracer without an exporter. It gives a trace id to each call
// that has none, so that the log lines of one call find each other, here and in
// the services it calls. It passes on a caller's span as it came: a span of ours
// that nobody exports would tear the caller's trace, and so would a sampled flag
// that is cleared on the way.
type idProvider struct{ embedded.TracerProvider }

type idTracer struct{ embedded.Tracer }

// Tracer implements [trace.TracerProvider].
func (idProvider) Tracer(string, ...trace.TracerOption) trace.Tracer { return idTracer{} }

// Start implements [trace.Tracer]. The options are not looked at.
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

// newSpanContext returns a context of its own trace, not sampled. Its ids need to
// be unique, not secret.
func newSpanContext() trace.SpanContext {
	var c trace.SpanContextConfig
	binary.NativeEndian.PutUint64(c.TraceID[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(c.TraceID[8:], rand.Uint64()|1) // never all zero
	binary.NativeEndian.PutUint64(c.SpanID[:], rand.Uint64()|1)
	return trace.NewSpanContext(c)
}

var _ trace.TracerProvider = idProvider{}
