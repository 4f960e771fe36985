package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/lmittmann/tint"
	"go.opentelemetry.io/otel/trace"

	"github.com/chassi-go/chassi"
)

// textHandler formats log lines for a terminal. It passes only flat attributes with
// printable text to the handler of package tint, because tint does not escape control
// sequences or, in messages, line breaks.
type textHandler struct {
	slog.Handler // tint's
	prefix       string
	secret       bool // inside a group whose name looks like a secret
	size         int  // bytes of the attributes of WithAttrs
}

func newTextHandler(out io.Writer, level slog.Leveler, colour bool) slog.Handler {
	return &textHandler{Handler: tint.NewTextHandler(out, &tint.Options{Level: level, TimeFormat: "15:04:05.000", NoColor: !colour})}
}

// Handle implements [slog.Handler].
func (h *textHandler) Handle(ctx context.Context, r slog.Record) error {
	flat := slog.NewRecord(r.Time, r.Level, printable(truncate(r.Message, maxValue)), r.PC)
	size := h.size
	r.Attrs(func(a slog.Attr) bool {
		flat.AddAttrs(fit(flatten(nil, h.prefix, a, h.secret), &size)...)
		return size <= maxRecord
	})
	if call := chassi.CallFrom(ctx); call != nil && call.RequestID != "" {
		flat.AddAttrs(slog.String("request_id", printable(call.RequestID)))
	}
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		flat.AddAttrs(slog.String("trace_id", span.TraceID().String()))
		if isRecorded(span) {
			flat.AddAttrs(slog.String("span_id", span.SpanID().String()))
		}
	}
	return h.Handler.Handle(ctx, flat)
}

// WithAttrs implements [slog.Handler].
func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var flat []slog.Attr
	for _, a := range attrs {
		flat = flatten(flat, h.prefix, a, h.secret)
	}
	size := h.size
	flat = fit(flat, &size)
	return &textHandler{h.Handler.WithAttrs(flat), h.prefix, h.secret, size}
}

// WithGroup implements [slog.Handler].
func (h *textHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &textHandler{h.Handler, h.prefix + printable(truncate(name, maxKey)) + ".", h.secret || isSecretKey(name), h.size}
}

// fit returns the attributes that fit into a line that already has *size bytes, followed by a mark
// in place of the first attribute that does not fit. If *size already exceeds maxRecord, fit returns
// no attributes and no mark. It adds the size of the attributes to *size.
func fit(attrs []slog.Attr, size *int) []slog.Attr {
	for i, a := range attrs {
		if *size > maxRecord {
			return attrs[:i]
		}
		*size += len(a.Key)
		if a.Value.Kind() == slog.KindString {
			*size += len(a.Value.String())
		}
		if *size > maxRecord {
			return append(attrs[:i:i], slog.Bool(truncatedKey, true))
		}
	}
	return attrs
}

// flatten appends a to the slice to. If a is a group, it appends the members of a instead, with keys
// such as group.member. It omits an empty attribute, masks values that may be secrets, truncates long
// text, and makes text printable.
func flatten(to []slog.Attr, prefix string, a slog.Attr, secret bool) []slog.Attr {
	value := a.Value.Resolve()
	secret = secret || isSecretKey(a.Key)
	switch {
	case value.Kind() == slog.KindGroup:
		if a.Key != "" {
			prefix += printable(truncate(a.Key, maxKey)) + "."
		}
		for _, m := range value.Group() {
			to = flatten(to, prefix, m, secret)
		}
		return to
	case a.Equal(slog.Attr{}):
		return to
	case secret && canHoldSecret(value):
		value = slog.StringValue(redacted)
	case value.Kind() == slog.KindString:
		value = slog.StringValue(printable(truncate(value.String(), maxOf(a.Key))))
	case value.Kind() == slog.KindAny:
		value = slog.StringValue(printable(truncate(fmt.Sprintf("%+v", value.Any()), maxOf(a.Key))))
	}
	return append(to, slog.Attr{Key: prefix + printable(truncate(a.Key, maxKey)), Value: value})
}

var _ slog.Handler = (*textHandler)(nil)
