package telemetry

import (
	"os"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// maxSpanValue is the maximum length of a span attribute, in characters. The SDK has no limit
// by default.
const maxSpanValue = 1024

// spanLimits returns the SDK's limits, as set by OTEL_SPAN_*: 128 attributes, events and links
// of a span, 128 attributes of an event or link. By default it also limits the length of values.
func spanLimits() sdktrace.SpanLimits {
	limits := sdktrace.NewSpanLimits()
	if os.Getenv("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT") == "" && limits.AttributeValueLengthLimit < 0 {
		limits.AttributeValueLengthLimit = maxSpanValue
	}
	return limits
}
