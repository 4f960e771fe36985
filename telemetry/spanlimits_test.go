package telemetry

import (
	"fmt"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Whatever a span is given, it has a bound.
func TestSpansAreBounded(t *testing.T) {
	t.Parallel()
	tel, _ := newTelemetry(t, Config{Trace: TraceConfig{Exporter: exportHTTP, Endpoint: "http://" + refusingAddress(t), Ratio: 1}})
	defer stopInTime(t, tel)
	_, span := tel.Tracer.Tracer("test").Start(t.Context(), "s")
	for i := range 1000 {
		span.SetAttributes(attribute.String(fmt.Sprint("key", i), strings.Repeat("v", 100_000)))
		span.AddEvent("event")
	}
	kept, ok := span.(sdktrace.ReadOnlySpan)
	if !ok {
		t.Fatalf("%T is not what the SDK makes", span)
	}
	if n, events := len(kept.Attributes()), len(kept.Events()); n > 128 || events > 128 || n == 0 || events == 0 {
		t.Errorf("%d attributes, %d events", n, events)
	}
	for _, a := range kept.Attributes() {
		if n := len(a.Value.AsString()); n > maxSpanValue {
			t.Errorf("an attribute of %d bytes", n)
		}
	}
	span.End()
}
