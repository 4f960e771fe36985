package tracing

import (
	"context"

	"github.com/chassi-go/chassi/calltrace"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// operations returns a tracer that creates spans for the operations of a call (see
// package calltrace), following OpenTelemetry's semantic conventions for databases. The
// parent of each span is the span in the context.
func operations(tracer trace.Tracer) calltrace.Tracer {
	return func(ctx context.Context, o calltrace.Operation) (context.Context, calltrace.End) {
		kind := trace.SpanKindClient
		if o.System == "" {
			kind = trace.SpanKindInternal
		}
		ctx, span := tracer.Start(ctx, o.String(), trace.WithSpanKind(kind), trace.WithAttributes(operationAttributes(o)...)) //nolint:spancheck // End ends it
		return ctx, func(code, failure string) {                                                                              //nolint:spancheck // likewise
			if code != "" {
				span.SetAttributes(attribute.String("db.response.status_code", code))
				failure = code
			}
			if failure != "" {
				span.SetAttributes(attribute.String("error.type", failure))
				span.SetStatus(codes.Error, "")
			}
			span.End()
		}
	}
}

func operationAttributes(o calltrace.Operation) []attribute.KeyValue {
	if o.System == "" {
		return nil
	}
	target, attributes := "db.collection.name", make([]attribute.KeyValue, 0, 5)
	attributes = append(attributes, attribute.String("db.system.name", o.System), attribute.String("db.operation.name", o.Name))
	if o.System == "redis" {
		target = "db.stored_procedure.name"
	} else {
		attributes = append(attributes, attribute.String("db.query.summary", o.String()))
	}
	if o.Target != "" {
		attributes = append(attributes, attribute.String(target, o.Target))
	}
	if o.Namespace != "" {
		attributes = append(attributes, attribute.String("db.namespace", o.Namespace))
	}
	return attributes
}
