package tracing

import (
	"context"
	"net"
	"net/http"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// HTTPClient returns a function that starts a client span for each attempt of a request to a
// third-party API, for the Trace option of package client/httpclient. The function sets the
// trace context in header unless header is nil. It returns the context of the span and a
// function that ends the span with the status of the response or the kind of failure. The span
// follows OpenTelemetry's semantic conventions for HTTP, except that it omits url.full, because
// paths and queries of many APIs contain keys.
func HTTPClient(provider trace.TracerProvider, propagator propagation.TextMapPropagator) func(
	ctx context.Context, method, host string, attempt int, header http.Header,
) (context.Context, func(status int, failure string)) {
	tracer := provider.Tracer("github.com/chassi-go/chassi")
	return func(ctx context.Context, method, host string, attempt int, header http.Header) (context.Context, func(int, string)) {
		name := method
		if method == "_OTHER" {
			name = "HTTP"
		}
		ctx, span := tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient))
		if header != nil {
			propagator.Inject(ctx, propagation.HeaderCarrier(header))
		}
		if span.IsRecording() {
			span.SetAttributes(requestAttributes(method, host, attempt)...)
		}
		return ctx, func(status int, failure string) {
			endRequest(span, status, failure)
		}
	}
}

func requestAttributes(method, host string, attempt int) []attribute.KeyValue {
	attributes := []attribute.KeyValue{attribute.String("http.request.method", method)}
	if address, port, err := net.SplitHostPort(host); err == nil {
		n, _ := strconv.Atoi(port)
		attributes = append(attributes, attribute.String("server.address", address), attribute.Int("server.port", n))
	}
	if attempt > 1 {
		attributes = append(attributes, attribute.Int("http.request.resend_count", attempt-1))
	}
	return attributes
}

func endRequest(span trace.Span, status int, failure string) {
	if status != 0 {
		span.SetAttributes(attribute.Int("http.response.status_code", status))
	}
	if failure == "" && status >= http.StatusBadRequest {
		failure = strconv.Itoa(status)
	}
	if failure != "" {
		span.SetAttributes(attribute.String("error.type", failure))
		span.SetStatus(codes.Error, "")
	}
	span.End()
}
