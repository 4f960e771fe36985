// Package tracing gives calls spans of OpenTelemetry.
package tracing

import (
	"context"

	"github.com/chassi-go/chassi"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// New gives each call a server span, child of the caller's if there is one
// (W3C Trace Context), and on the calling side a client span that goes along. A
// span that is not sampled costs no attributes.
func New(provider trace.TracerProvider, propagator propagation.TextMapPropagator) chassi.Middleware {
	tracer := provider.Tracer("github.com/chassi-go/chassi")
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		name := b.Route
		if b.Method != "" {
			name = b.Method + " " + b.Route
		}
		kind := trace.SpanKindServer
		if b.Client {
			kind = trace.SpanKindClient
		}
		options := []trace.SpanStartOption{trace.WithSpanKind(kind)}
		static := staticAttributes(b)
		return func(ctx context.Context, call *chassi.Call) error {
			if !b.Client && call.In.Get("Traceparent") != "" {
				ctx = propagator.Extract(ctx, carrier{call.In})
			}
			ctx, span := tracer.Start(ctx, name, options...)
			defer span.End()
			if b.Client {
				propagator.Inject(ctx, carrier{call.In})
			}
			err := next(ctx, call)
			if span.IsRecording() {
				span.SetAttributes(static...)
				describe(span, b, call, err)
			}
			return err
		}
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

// carrier shows metadata to the propagator.
type carrier struct{ chassi.Metadata }

func (carrier) Keys() []string { return nil }
