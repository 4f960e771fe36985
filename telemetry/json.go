package telemetry

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/chassi-go/chassi"
)

// jsonHandler writes one line of JSON per record: time, level and message, then the IDs of the
// call, then the attributes. It takes half the time of slog's handler, writes the IDs outside any
// group, and masks the values of keys that look like secrets.
type jsonHandler struct {
	level slog.Leveler
	out   io.Writer
	later *sink      // out if it is a sink, or nil
	lines *sync.Pool // of *[]byte

	rendered []byte   // encoded attributes of WithAttrs, with a leading comma
	open     int      // groups that rendered leaves open
	pending  []string // groups without attributes so far
	secret   bool     // inside a group whose name looks like a secret
}

const (
	lineBytes    = 1 << 10
	maxLineBytes = 64 << 10 // larger buffers are not kept
	recordBytes  = 400      // of a record in memory, with inlineAttrs attributes
	inlineAttrs  = 5
	attrBytes    = 40 // of each further attribute
)

func newJSONHandler(out io.Writer, level slog.Leveler) slog.Handler {
	later, _ := out.(*sink)
	return &jsonHandler{level: level, out: out, later: later, lines: &sync.Pool{New: func() any {
		b := make([]byte, 0, lineBytes)
		return &b
	}}}
}

// Enabled implements [slog.Handler].
func (h *jsonHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

// Handle implements [slog.Handler].
func (h *jsonHandler) Handle(ctx context.Context, r slog.Record) error {
	if h.later != nil {
		if size, ok := constantSize(&r); ok && h.later.add(h, idsOf(ctx), &r, size+len(h.rendered)) {
			return nil
		}
	}
	buffer := h.lines.Get().(*[]byte) //nolint:forcetypeassert // nothing else is put in
	b := h.appendLine((*buffer)[:0], idsOf(ctx), &r)
	_, err := h.out.Write(b)
	if cap(b) <= maxLineBytes {
		*buffer = b
		h.lines.Put(buffer)
	}
	return err
}

// constantSize returns the approximate size of a record in memory, in bytes. It returns false if
// a value of the record may change before the sink encodes it.
func constantSize(r *slog.Record) (size int, ok bool) {
	size, ok = recordBytes+len(r.Message)+attrBytes*max(r.NumAttrs()-inlineAttrs, 0), true
	r.Attrs(func(a slog.Attr) bool {
		size += len(a.Key)
		switch a.Value.Kind() {
		case slog.KindLogValuer, slog.KindGroup:
			ok = false
		case slog.KindAny:
			_, ok = a.Value.Any().(netip.Addr)
		case slog.KindString:
			size += len(a.Value.String())
		}
		return ok
	})
	return size, ok
}

// appendLine appends the line of a record to b, which must be empty.
func (h *jsonHandler) appendLine(b []byte, ids callIDs, r *slog.Record) []byte {
	b = appendHead(b, r)
	b = ids.append(b)
	b = append(b, h.rendered...)
	b = h.appendRecord(b, r)
	for range h.open {
		b = append(b, '}')
	}
	if len(b) > maxRecord {
		b = append(b, `,"`+truncatedKey+`":true`...)
	}
	return append(b, '}', '\n')
}

func appendHead(b []byte, r *slog.Record) []byte {
	b = append(b, '{')
	if !r.Time.IsZero() {
		b = appendTime(append(b, `"time":`...), r.Time)
	}
	switch {
	case r.Level == slog.LevelInfo && !r.Time.IsZero(): // of almost all lines
		b = append(b, `,"level":"INFO"`...)
	default:
		b = appendString(appendKey(b, slog.LevelKey), r.Level.String())
	}
	return appendString(appendKey(b, slog.MessageKey), truncate(r.Message, maxValue))
}

// callIDs contains the IDs that correlate the log lines of a call.
type callIDs struct {
	request string
	span    trace.SpanContext
}

func idsOf(ctx context.Context) (ids callIDs) {
	if call := chassi.CallFrom(ctx); call != nil {
		ids.request = call.RequestID
	}
	ids.span = trace.SpanContextFromContext(ctx)
	return ids
}

// append appends the IDs to b as members of a JSON object. It omits the span ID if the span is
// not sampled or belongs to a remote caller.
func (ids *callIDs) append(b []byte) []byte {
	if ids.request != "" {
		b = appendString(append(b, `,"request_id":`...), ids.request)
	}
	if !ids.span.IsValid() {
		return b
	}
	traceID := ids.span.TraceID()
	b = append(hex.AppendEncode(append(b, `,"trace_id":"`...), traceID[:]), '"')
	if isRecorded(ids.span) {
		spanID := ids.span.SpanID()
		b = append(hex.AppendEncode(append(b, `,"span_id":"`...), spanID[:]), '"')
	}
	return b
}

func isRecorded(span trace.SpanContext) bool { return span.IsSampled() && !span.IsRemote() }

// appendRecord appends the attributes of the record, inside the pending groups.
func (h *jsonHandler) appendRecord(b []byte, r *slog.Record) []byte {
	if r.NumAttrs() == 0 {
		return b
	}
	start := len(b)
	b = openGroups(b, h.pending)
	empty := len(b)
	r.Attrs(func(a slog.Attr) bool {
		b = appendAttr(b, a, h.secret)
		return len(b) <= maxRecord
	})
	if len(b) == empty {
		return b[:start]
	}
	for range h.pending {
		b = append(b, '}')
	}
	return b
}

func openGroups(b []byte, names []string) []byte {
	for _, name := range names {
		b = append(appendKey(b, name), '{')
	}
	return b
}

// WithAttrs implements [slog.Handler].
func (h *jsonHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	// Behind a letter, so that the first attribute gets its comma.
	b := openGroups(append([]byte{'x'}, h.rendered...), h.pending)
	empty := len(b)
	for _, a := range attrs {
		b = appendAttr(b, a, h.secret)
	}
	if len(b) == empty {
		return h
	}
	with := *h
	with.rendered, with.open, with.pending = b[1:], h.open+len(h.pending), nil
	return &with
}

// WithGroup implements [slog.Handler].
func (h *jsonHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	with := *h
	with.pending = slices.Concat(h.pending, []string{name})
	with.secret = h.secret || isSecretKey(name)
	return &with
}

// appendAttr appends an attribute or a group as a member of a JSON object. It appends nothing if
// the attribute or group is empty, or if the line has exceeded its maximum length.
func appendAttr(b []byte, a slog.Attr, secret bool) []byte {
	if len(b) > maxRecord {
		return b
	}
	value := a.Value
	switch value.Kind() {
	case slog.KindLogValuer:
		value = value.Resolve()
	case slog.KindAny:
		if a.Key == "" && a.Value.Any() == nil {
			return b
		}
	}
	if value.Kind() == slog.KindGroup {
		return appendGroup(b, a.Key, value.Group(), secret || isSecretKey(a.Key))
	}
	b = appendKey(b, a.Key)
	if canHoldSecret(value) && (secret || isSecretKey(a.Key)) {
		return append(b, `"`+redacted+`"`...)
	}
	return appendValue(b, value, maxOf(a.Key))
}

func appendGroup(b []byte, name string, members []slog.Attr, secret bool) []byte {
	start := len(b)
	if name != "" {
		b = append(appendKey(b, name), '{')
	}
	empty := len(b)
	for _, m := range members {
		b = appendAttr(b, m, secret)
	}
	switch {
	case len(b) == empty:
		return b[:start]
	case name != "":
		return append(b, '}')
	default:
		return b
	}
}

func appendKey(b []byte, key string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	return append(appendString(b, truncate(key, maxKey)), ':')
}

func appendValue(b []byte, v slog.Value, limit int) []byte {
	switch v.Kind() {
	case slog.KindString:
		return appendString(b, truncate(v.String(), limit))
	case slog.KindInt64:
		return strconv.AppendInt(b, v.Int64(), 10)
	case slog.KindUint64:
		return strconv.AppendUint(b, v.Uint64(), 10)
	case slog.KindFloat64:
		return appendFloat(b, v.Float64())
	case slog.KindBool:
		return strconv.AppendBool(b, v.Bool())
	case slog.KindDuration:
		return append(append(append(b, '"'), v.Duration().String()...), '"')
	case slog.KindTime:
		return appendTime(b, v.Time())
	default:
		if addr, ok := v.Any().(netip.Addr); ok && addr.IsValid() && addr.Zone() == "" {
			return append(addr.AppendTo(append(b, '"')), '"')
		}
		return appendAny(b, v.Any(), limit)
	}
}

// appendTime appends t as a JSON string in the format [time.RFC3339Nano]. It caches the formatted
// date, time and zone of the latest second, which are the same for thousands of lines.
func appendTime(b []byte, t time.Time) []byte {
	_, offset := t.Zone()
	s := lastSecond.Load()
	if s == nil || s.unix != t.Unix() || s.offset != offset {
		s = &second{t.Unix(), offset, t.Format("2006-01-02T15:04:05"), t.Format("Z07:00")}
		lastSecond.Store(s)
	}
	b = append(append(b, '"'), s.text...)
	if n := t.Nanosecond(); n > 0 {
		b = append(b, ".000000000"...)
		for i := len(b) - 1; n > 0; i-- {
			b[i] = byte('0' + n%10)
			n /= 10
		}
		for b[len(b)-1] == '0' {
			b = b[:len(b)-1]
		}
	}
	return append(append(b, s.zone...), '"')
}

type second struct {
	unix       int64
	offset     int
	text, zone string
}

var lastSecond atomic.Pointer[second]

// appendFloat appends f as a number, or as a string if f is infinite or not a number.
func appendFloat(b []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return appendString(b, strconv.FormatFloat(f, 'g', -1, 64))
	}
	return strconv.AppendFloat(b, f, 'g', -1, 64)
}

// appendAny appends the text of v if v is an error without a method MarshalJSON, and otherwise the
// JSON of v. If the result would be longer than limit bytes, it appends a truncated string. If v
// cannot be encoded or one of its methods panics, it appends the text of the error or the panic.
func appendAny(b []byte, v any, limit int) (out []byte) {
	defer func() {
		if p := recover(); p != nil {
			out = appendString(b, truncate(fmt.Sprintf("!PANIC: %v", p), limit))
		}
	}()
	if err, ok := v.(error); ok {
		if _, ok := v.(json.Marshaler); !ok {
			return appendString(b, truncate(err.Error(), limit))
		}
	}
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return appendString(b, truncate(fmt.Sprintf("!ERROR: %v", err), limit))
	}
	encoded := strings.TrimSuffix(text.String(), "\n")
	if len(encoded) > limit {
		return appendString(b, truncate(encoded, limit))
	}
	return appendEscaped(b, encoded)
}

var _ slog.Handler = (*jsonHandler)(nil)
