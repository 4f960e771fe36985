// Package tracing gives calls spans of OpenTelemetry.
package tracing

import (
	"context"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/calltrace"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// New returns middleware that gives each call a span: a server span where it is served,
// a client span, whose context goes along, where it is made. A span that is not sampled
// costs no attributes.
//
// Within a server span that is recorded, what packages report of the call (see package
// calltrace) has spans of its own: statements of SQL, commands of Redis, tasks of pools.
//
// The trace context of the caller (W3C Trace Context, and baggage) becomes the parent of
// the server span if trusted says so. Any other caller's decides nothing: the span begins
// a trace of its own, is sampled as such, and if it is, it has a link to the caller's
// span. Of such a caller no trace state and no baggage is kept. A nil trusted trusts
// calls within the process alone.
func New(provider trace.TracerProvider, propagator propagation.TextMapPropagator, trusted Trust) chassi.Middleware {
	if trusted == nil {
		trusted = isLocal
	}
	tracer := provider.Tracer("github.com/chassi-go/chassi")
	inner := operations(tracer)
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		t := &tracing{
			binding: b, tracer: tracer, propagator: propagator, trusted: trusted, operations: inner,
			name: spanName(b), static: staticAttributes(b), options: []trace.SpanStartOption{trace.WithSpanKind(spanKind(b))},
		}
		if b.Client {
			return t.client(next)
		}
		return t.server(next)
	}
}

// tracing is what is known of the spans of one endpoint.
type tracing struct {
	binding    *chassi.Binding
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	trusted    Trust
	operations calltrace.Tracer
	name       string
	static     []attribute.KeyValue
	options    []trace.SpanStartOption
}

func spanName(b *chassi.Binding) string {
	if b.Method == "" {
		return b.Route
	}
	return b.Method + " " + b.Route
}

func spanKind(b *chassi.Binding) trace.SpanKind {
	if b.Client {
		return trace.SpanKindClient
	}
	return trace.SpanKindServer
}

func (t *tracing) client(next chassi.Handler) chassi.Handler {
	return func(ctx context.Context, call *chassi.Call) error {
		ctx, span := t.tracer.Start(ctx, t.name, t.options...)
		defer span.End()
		t.propagator.Inject(ctx, carrier{call.In})
		err := next(ctx, call)
		t.finish(span, call, err)
		return err
	}
}

func (t *tracing) server(next chassi.Handler) chassi.Handler {
	return func(ctx context.Context, call *chassi.Call) error {
		has := call.In.Get("Traceparent") != ""
		believed := has && t.trusted(call)
		if believed {
			ctx = t.propagator.Extract(ctx, carrier{call.In})
		}
		ctx, span := t.tracer.Start(ctx, t.name, t.options...)
		defer span.End()
		if span.IsRecording() {
			ctx = calltrace.WithTracer(ctx, t.operations)
			if has && !believed {
				t.link(span, call)
			}
		}
		err := next(ctx, call)
		t.finish(span, call, err)
		return err
	}
}

// link points from the span to the caller's, whose trace state is left out.
func (t *tracing) link(span trace.Span, call *chassi.Call) {
	theirs := trace.SpanContextFromContext(t.propagator.Extract(context.Background(), carrier{call.In}))
	if theirs.IsValid() {
		span.AddLink(trace.Link{SpanContext: theirs.WithTraceState(trace.TraceState{})})
	}
}

func (t *tracing) finish(span trace.Span, call *chassi.Call, err error) {
	if span.IsRecording() {
		span.SetAttributes(t.static...)
		describe(span, t.binding, call, err)
	}
}

// staticAttributes follow OpenTelemetry's semantic conventions for HTTP and RPC.
func staticAttributes(b *chassi.Binding) []attribute.KeyValue {
	if b.Transport == "http" {
		return []attribute.KeyValue{attribute.String("http.request.method", b.Method), attribute.String("http.route", b.Route)}
	}
	return []attribute.KeyValue{attribute.String("rpc.system", b.Transport), attribute.String("rpc.method", b.Route)}
}

func describe(span trace.Span, b *chassi.Binding, call *chassi.Call, err error) {
	status := b.Status(call, err)
	if b.Transport == "http" {
		span.SetAttributes(attribute.Int("http.response.status_code", status))
	} else {
		span.SetAttributes(attribute.Int("rpc.response.status_code", status))
	}
	if call.Peer.IsValid() {
		span.SetAttributes(attribute.String("client.address", call.Peer.Addr().String()))
	}
	span.SetAttributes(attribute.String("request.id", call.RequestID))
	if err == nil {
		return
	}
	e := chassi.ErrorOf(err)
	span.SetAttributes(attribute.String("error.type", e.Reason))
	if e.Code.Fault() || e.Code == chassi.Unavailable || e.Code == chassi.DeadlineExceeded {
		span.SetStatus(codes.Error, e.Message)
	}
}

// maxValue bounds the trace state and the baggage of a caller, in bytes. It is the limit
// of W3C Baggage, and sixteen times what W3C Trace Context asks for.
const maxValue = 8 << 10

// carrier shows metadata to the propagator. Values that are too long are left out.
type carrier struct{ chassi.Metadata }

// Get implements [propagation.TextMapCarrier].
func (c carrier) Get(key string) string {
	if value := c.Metadata.Get(key); len(value) <= maxValue {
		return value
	}
	return ""
}

// Keys implements [propagation.TextMapCarrier]. No propagator of ours asks.
func (carrier) Keys() []string { return nil }
