package protobuf

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"
	"unicode/utf8"

	"github.com/chassi-go/chassi/internal/safetext"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Errors for malformed messages. These errors are sent to clients.
var (
	errTruncated = errors.New("ends too early or is not well-formed")
	errUTF8      = errors.New("is not valid UTF-8")
	errDepth     = fmt.Errorf("nests deeper than %d messages", maxDepth)
	errTime      = errors.New("must be a time in the years 1 to 9999")
	errTimeNanos = errors.New("must be a time whose nanos are from 0 to 999999999")
	errDuration  = errors.New("must be a duration within 292 years")
	errSpanNanos = errors.New("must be a duration whose nanos are less than a second and have the sign of its seconds")
)

// maxDepth is the maximum nesting depth of messages, as in most implementations of Protocol
// Buffers.
const maxDepth = 100

// timestampName is the full name of the message that encodes a time.Time.
const timestampName = "google.protobuf.Timestamp"

const (
	typeBool   = descriptorpb.FieldDescriptorProto_TYPE_BOOL
	typeString = descriptorpb.FieldDescriptorProto_TYPE_STRING
	typeBytes  = descriptorpb.FieldDescriptorProto_TYPE_BYTES
)

// scalarKind returns the kind of t, or nil if t is not a boolean, a number, a string or a []byte.
func scalarKind(t reflect.Type) *kind {
	k := &kind{goType: t, wire: protowire.VarintType, isZero: reflect.Value.IsZero}
	if t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64 {
		k.isZero = func(v reflect.Value) bool { return math.Float64bits(v.Float()) == 0 } // negative zero is not empty
	}
	switch t.Kind() {
	case reflect.Bool:
		k.typ, k.append, k.consume = typeBool, appendBool, consumeBool
	case reflect.Int, reflect.Int64:
		k.typ, k.append, k.consume = descriptorpb.FieldDescriptorProto_TYPE_INT64, appendInt, consumeInt
	case reflect.Int8, reflect.Int16, reflect.Int32:
		k.typ, k.append, k.consume = descriptorpb.FieldDescriptorProto_TYPE_INT32, appendInt, consumeInt32
	case reflect.Uint, reflect.Uint64:
		k.typ, k.append, k.consume = descriptorpb.FieldDescriptorProto_TYPE_UINT64, appendUint, consumeUint
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		k.typ, k.append, k.consume = descriptorpb.FieldDescriptorProto_TYPE_UINT32, appendUint, consumeUint32
	case reflect.Float32:
		k.typ, k.wire, k.append, k.consume = descriptorpb.FieldDescriptorProto_TYPE_FLOAT, protowire.Fixed32Type, appendFloat32, consumeFloat32
	case reflect.Float64:
		k.typ, k.wire, k.append, k.consume = descriptorpb.FieldDescriptorProto_TYPE_DOUBLE, protowire.Fixed64Type, appendFloat64, consumeFloat64
	case reflect.String:
		k.typ, k.wire, k.append, k.consume = typeString, protowire.BytesType, appendText, consumeString
		k.isZero = func(v reflect.Value) bool { return v.Len() == 0 }
	case reflect.Slice:
		if t.Elem().Kind() != reflect.Uint8 || t.Elem().PkgPath() != "" {
			return nil // a list of bytes of a named type is a list
		}
		k.typ, k.wire, k.append, k.consume = typeBytes, protowire.BytesType, appendBlob, consumeBytes
		k.isZero = func(v reflect.Value) bool { return v.Len() == 0 }
	default:
		return nil
	}
	return k
}

func appendBool(b []byte, v reflect.Value) ([]byte, error) {
	return protowire.AppendVarint(b, protowire.EncodeBool(v.Bool())), nil
}

func consumeBool(b []byte, v reflect.Value, _ int) (int, error) {
	x, n := protowire.ConsumeVarint(b)
	v.SetBool(protowire.DecodeBool(x))
	return n, nil
}

func appendInt(b []byte, v reflect.Value) ([]byte, error) {
	return protowire.AppendVarint(b, uint64(v.Int())), nil
}

func consumeInt(b []byte, v reflect.Value, _ int) (int, error) {
	x, n := protowire.ConsumeVarint(b)
	v.SetInt(int64(x))
	return n, nil
}

// consumeInt32 sets v to the lower 32 bits of the varint at the start of b, as the format requires,
// and returns the length of the varint. It returns an error with the range of the type of v if this
// type is narrower and cannot hold the value.
func consumeInt32(b []byte, v reflect.Value, _ int) (int, error) {
	x, n := protowire.ConsumeVarint(b)
	if v.OverflowInt(int64(int32(x))) {
		return n, errWholeNumber(false, v.Type().Bits())
	}
	v.SetInt(int64(int32(x)))
	return n, nil
}

func appendUint(b []byte, v reflect.Value) ([]byte, error) {
	return protowire.AppendVarint(b, v.Uint()), nil
}

func consumeUint(b []byte, v reflect.Value, _ int) (int, error) {
	x, n := protowire.ConsumeVarint(b)
	v.SetUint(x)
	return n, nil
}

func consumeUint32(b []byte, v reflect.Value, _ int) (int, error) {
	x, n := protowire.ConsumeVarint(b)
	if v.OverflowUint(uint64(uint32(x))) {
		return n, errWholeNumber(true, v.Type().Bits())
	}
	v.SetUint(uint64(uint32(x)))
	return n, nil
}

func appendFloat32(b []byte, v reflect.Value) ([]byte, error) {
	return protowire.AppendFixed32(b, math.Float32bits(float32(v.Float()))), nil
}

func consumeFloat32(b []byte, v reflect.Value, _ int) (int, error) {
	x, n := protowire.ConsumeFixed32(b)
	v.SetFloat(float64(math.Float32frombits(x)))
	return n, nil
}

func appendFloat64(b []byte, v reflect.Value) ([]byte, error) {
	return protowire.AppendFixed64(b, math.Float64bits(v.Float())), nil
}

func consumeFloat64(b []byte, v reflect.Value, _ int) (int, error) {
	x, n := protowire.ConsumeFixed64(b)
	v.SetFloat(math.Float64frombits(x))
	return n, nil
}

func appendText(b []byte, v reflect.Value) ([]byte, error) {
	s := v.String()
	if !utf8.ValidString(s) {
		return b, errUTF8
	}
	return protowire.AppendString(b, s), nil
}

func consumeString(b []byte, v reflect.Value, _ int) (int, error) {
	x, n := protowire.ConsumeBytes(b)
	if !utf8.Valid(x) {
		return n, errUTF8
	}
	v.SetString(string(x))
	return n, nil
}

func appendBlob(b []byte, v reflect.Value) ([]byte, error) {
	return protowire.AppendBytes(b, v.Bytes()), nil
}

func consumeBytes(b []byte, v reflect.Value, _ int) (int, error) {
	x, n := protowire.ConsumeBytes(b)
	v.SetBytes(append(make([]byte, 0, len(x)), x...))
	return n, nil
}

// textOf returns the text of v, which has a method MarshalText or AppendText.
func textOf(v any) ([]byte, error) {
	if m, ok := v.(encoding.TextMarshaler); ok {
		return m.MarshalText() //nolint:wrapcheck // the caller names the field
	}
	return v.(encoding.TextAppender).AppendText(nil) //nolint:wrapcheck,forcetypeassert // the type is checked by gotype
}

// textKind returns the kind of t, which is encoded by MarshalText, or else by AppendText, and
// decoded by UnmarshalText.
func textKind(t reflect.Type) *kind {
	return &kind{
		goType: t, typ: typeString, wire: protowire.BytesType, isZero: reflect.Value.IsZero,
		append: func(b []byte, original reflect.Value) ([]byte, error) {
			v := original
			if !v.CanAddr() { // the value of a map
				v = reflect.New(t).Elem()
				v.Set(original)
			}
			text, err := textOf(v.Addr().Interface())
			if err != nil {
				return b, err
			}
			if !utf8.Valid(text) {
				return b, errUTF8
			}
			return protowire.AppendBytes(b, text), nil
		},
		consume: func(b []byte, v reflect.Value, _ int) (int, error) {
			x, n := protowire.ConsumeBytes(b)
			switch {
			case n < 0:
				return n, nil
			case !utf8.Valid(x):
				return n, errUTF8
			case len(x) == 0:
				v.SetZero()
				return n, nil
			}
			if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText(x); err != nil {
				return n, errors.New(safetext.Reason(err, string(x)))
			}
			return n, nil
		},
	}
}

func messageKind(t reflect.Type, p *Plan, pointer bool) *kind {
	k := &kind{goType: t, typ: descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, wire: protowire.BytesType, message: p, pointer: pointer}
	if !pointer {
		k.isZero = func(reflect.Value) bool { return false } // dropped once it turns out to be empty
		k.append = func(b []byte, v reflect.Value) ([]byte, error) { return appendDelimited(b, p, v) }
		k.consume = func(b []byte, v reflect.Value, depth int) (int, error) { return consumeDelimited(b, p, v, depth) }
		return k
	}
	k.isZero = reflect.Value.IsNil
	k.append = func(b []byte, v reflect.Value) ([]byte, error) {
		if v.IsNil() { // in a list or a map
			return append(b, 0), nil
		}
		return appendDelimited(b, p, v.Elem())
	}
	k.consume = func(b []byte, v reflect.Value, depth int) (int, error) {
		if v.IsNil() {
			v.Set(reflect.New(p.goType))
		}
		return consumeDelimited(b, p, v.Elem(), depth)
	}
	return k
}

func timestampKind() *kind {
	k := &kind{goType: reflect.TypeFor[time.Time](), known: timestampName}
	k.isZero = func(v reflect.Value) bool { return timeOf(v).IsZero() }
	return k.wellKnown(
		func(v reflect.Value) (int64, int32, error) {
			t := timeOf(v)
			if t.IsZero() { // in a list: the year 1 stands for nothing
				return 0, 0, nil
			}
			if y := t.UTC().Year(); y < 1 || y > 9999 {
				return 0, 0, errTime
			}
			return t.Unix(), int32(t.Nanosecond()), nil
		},
		func(v reflect.Value, seconds int64, nanos int32) error {
			switch {
			case seconds < minTimestamp || seconds > maxTimestamp:
				return errTime
			case nanos < 0 || nanos > 999_999_999:
				return errTimeNanos
			}
			*v.Addr().Interface().(*time.Time) = time.Unix(seconds, int64(nanos)).UTC()
			return nil
		})
}

func timeOf(v reflect.Value) time.Time {
	if v.CanAddr() {
		return *v.Addr().Interface().(*time.Time)
	}
	return v.Interface().(time.Time)
}

// The range of google.protobuf.Timestamp in Unix seconds: the years 1 to 9999.
const (
	minTimestamp = -62135596800
	maxTimestamp = 253402300799
)

func durationKind() *kind {
	k := &kind{goType: reflect.TypeFor[time.Duration](), known: "google.protobuf.Duration", isZero: reflect.Value.IsZero}
	return k.wellKnown(
		func(v reflect.Value) (int64, int32, error) {
			d := time.Duration(v.Int())
			return int64(d / time.Second), int32(d % time.Second), nil
		},
		func(v reflect.Value, seconds int64, nanos int32) error {
			switch {
			case nanos <= -1e9 || nanos >= 1e9 || seconds > 0 && nanos < 0 || seconds < 0 && nanos > 0:
				return errSpanNanos
			case seconds > math.MaxInt64/int64(time.Second)-1 || seconds < math.MinInt64/int64(time.Second)+1:
				return errDuration
			}
			v.SetInt(seconds*int64(time.Second) + int64(nanos))
			return nil
		})
}

// wellKnown completes and returns k, the kind of a message with the fields seconds and nanos. The
// function split converts a Go value to the two fields, and join sets a Go value from them. A
// second occurrence of the message is merged with the first, as for any message.
func (k *kind) wellKnown(split func(reflect.Value) (int64, int32, error), join func(reflect.Value, int64, int32) error) *kind {
	k.typ, k.wire = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE, protowire.BytesType
	k.append = func(b []byte, v reflect.Value) ([]byte, error) {
		seconds, nanos, err := split(v)
		if err != nil {
			return b, err
		}
		return appendSecondsNanos(b, seconds, nanos), nil
	}
	k.consume = func(b []byte, v reflect.Value, _ int) (int, error) {
		body, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return n, nil
		}
		seconds, nanos, err := split(v)
		if err == nil {
			seconds, nanos, err = consumeSecondsNanos(body, seconds, nanos)
		}
		if err == nil {
			err = join(v, seconds, nanos)
		}
		return n, err
	}
	return k
}

func appendSecondsNanos(b []byte, seconds int64, nanos int32) []byte {
	start := len(b)
	b = append(b, 0) // two varints and their tags always fit in 127 bytes
	if seconds != 0 {
		b = protowire.AppendVarint(append(b, 1<<3), uint64(seconds))
	}
	if nanos != 0 {
		b = protowire.AppendVarint(append(b, 2<<3), uint64(int64(nanos)))
	}
	b[start] = byte(len(b) - start - 1)
	return b
}

func consumeSecondsNanos(b []byte, seconds int64, nanos int32) (int64, int32, error) {
	for len(b) > 0 {
		number, wire, n := consumeTag(b)
		if n < 0 {
			return 0, 0, errTruncated
		}
		b = b[n:]
		switch {
		case wire == protowire.VarintType && number <= 2:
			var x uint64
			if x, n = protowire.ConsumeVarint(b); number == 1 {
				seconds = int64(x)
			} else {
				nanos = int32(x)
			}
		default:
			n = protowire.ConsumeFieldValue(number, wire, b)
		}
		if n < 0 {
			return 0, 0, errTruncated
		}
		b = b[n:]
	}
	return seconds, nanos, nil
}
