// Package tracing creates OpenTelemetry spans for calls.
package tracing

import (
	"context"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/calltrace"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// New returns middleware that creates a span for each call. On a server it is a server
// span. On a client it is a client span, and its context is propagated. No attributes
// are computed for an unsampled span.
//
// The span of a stream lasts until the stream ends. It contains the number of items
// and their encoded size in bytes.
//
// Within a recorded server span, the operations of the call (see package calltrace) have their
// own spans: SQL statements, Redis commands, tasks of pools.
//
// If trusted returns true for a call, the trace context of the client (W3C Trace
// Context and Baggage) becomes the parent of the server span. Otherwise, the span
// begins a new trace with its own sampling decision and, if sampled, a link to the
// client's span; the client's trace state and baggage are dropped. If trusted is nil,
// only calls within the process, events and jobs are trusted.
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

// tracing contains the static data for the spans of one binding.
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
		sent := has || call.In.Get("Baggage") != "" // may be present without a parent
		trusted := sent && t.trusted(call)
		if trusted {
			ctx = t.propagator.Extract(ctx, carrier{call.In})
		}
		ctx, span := t.tracer.Start(ctx, t.name, t.options...)
		defer span.End()
		if span.IsRecording() {
			ctx = calltrace.WithTracer(ctx, t.operations)
			if has && !trusted {
				t.link(span, call)
			}
		}
		err := next(ctx, call)
		t.finish(span, call, err)
		return err
	}
}

// link links span to the client's span, without the client's trace state.
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

// staticAttributes returns the attributes that all spans of a binding share, named as in
// OpenTelemetry's semantic conventions for HTTP and RPC.
func staticAttributes(b *chassi.Binding) []attribute.KeyValue {
	if b.Transport == "http" {
		return []attribute.KeyValue{attribute.String("http.request.method", b.Method), attribute.String("http.route", b.Route)}
	}
	return []attribute.KeyValue{attribute.String("rpc.system", b.Transport), attribute.String("rpc.method", b.Route)}
}

func describe(span trace.Span, b *chassi.Binding, call *chassi.Call, err error) {
	status := b.Status(call, err)
	if b.Transport == "http" && !b.Client {
		span.SetAttributes(attribute.Int("http.response.status_code", status))
	} else {
		span.SetAttributes(attribute.Int("rpc.response.status_code", status))
	}
	if call.Peer.IsValid() {
		span.SetAttributes(attribute.String("client.address", call.Peer.Addr().String()))
	}
	span.SetAttributes(attribute.String("request.id", call.RequestID))
	if s := call.Stream; s != nil {
		span.SetAttributes(attribute.Int64("stream.items", s.Items), attribute.Int64("stream.bytes", s.Bytes))
	}
	if err == nil {
		return
	}
	e := chassi.ErrorOf(err)
	span.SetAttributes(attribute.String("error.type", e.Reason))
	if e.Code.IsServerError() || e.Code == chassi.Unavailable || e.Code == chassi.DeadlineExceeded {
		span.SetStatus(codes.Error, e.Message)
	}
}

// maxValue is the maximum length of a client's trace state or baggage, in bytes. It is the limit
// of W3C Baggage, and sixteen times the minimum of W3C Trace Context.
const maxValue = 8 << 10

// carrier adapts metadata to [propagation.TextMapCarrier]. It omits values longer than maxValue.
type carrier struct{ chassi.Metadata }

// Get implements [propagation.TextMapCarrier]. It joins the values of several headers with the
// same name, other than traceparent, into one list (W3C Trace Context, section 3.3.1; W3C Baggage,
// section 3.1).
func (c carrier) Get(key string) string {
	value := c.Metadata.Get(key)
	if m, ok := c.Metadata.(interface{ Values(key string) []string }); ok && value != "" && !strings.EqualFold(key, "traceparent") {
		if values := m.Values(key); len(values) > 1 {
			value = strings.Join(values, ",")
		}
	}
	if len(value) <= maxValue {
		return value
	}
	return ""
}

// Keys implements [propagation.TextMapCarrier]. It returns nil, because the supported
// propagators do not call it.
func (carrier) Keys() []string { return nil }
