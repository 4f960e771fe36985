package telemetry

import (
	"os"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// maxSpanValue is the default maximum length of the value of a span attribute, in characters. The
// SDK alone has no limit by default.
const maxSpanValue = 1024

// spanLimits returns the limits of spans: those that the OTEL_SPAN_*, OTEL_EVENT_* and OTEL_LINK_*
// variables set, or the SDK's defaults of 128 attributes, 128 events and 128 links per span, and
// 128 attributes per event or link. The default maximum length of the value of an attribute is
// maxSpanValue.
func spanLimits() sdktrace.SpanLimits {
	limits := sdktrace.NewSpanLimits()
	if os.Getenv("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT") == "" && limits.AttributeValueLengthLimit < 0 {
		limits.AttributeValueLengthLimit = maxSpanValue
	}
	return limits
}
