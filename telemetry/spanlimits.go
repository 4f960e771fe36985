package telemetry

import (
	"os"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// maxSpanValue is the most that an attribute of a span has, in characters. The SDK's default
// has no limit; it has none for the attributes of events, which nothing here makes.
const maxSpanValue = 1024

// spanLimits are the SDK's, which OTEL_SPAN_* set: 128 attributes, events and links of a
// span, 128 attributes of an event or link. Unless a variable says so, values have a limit,
// too.
func spanLimits() sdktrace.SpanLimits {
	limits := sdktrace.NewSpanLimits()
	if os.Getenv("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT") == "" && limits.AttributeValueLengthLimit < 0 {
		limits.AttributeValueLengthLimit = maxSpanValue
	}
	return limits
}
