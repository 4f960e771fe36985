package protobuf

import (
	"encoding/base64"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/descriptorpb"
)

// JSON encodes and decodes the messages of services in ProtoJSON, as package protojson does with
// code that is generated from the .proto file of [File]. A member has the json_name of its field.
// Integers of 64 bits are strings, bytes are strings in base64, times are strings in the form of
// RFC 3339, and durations are strings such as "1.500s". A value of an enum is its name, or a number
// if it has no name. Fields without a value are omitted. A JSON is immutable and safe for concurrent
// use.
//
// A value has the same meaning in ProtoJSON and in the binary form, because a JSON converts between
// the two forms.
type JSON struct{ enums map[reflect.Type]*enumNames }

// enumNames maps the values of an enum to their names in a .proto file, and vice versa.
type enumNames struct {
	names  map[int32]string
	values map[string]int32
}

// NewJSON returns a [JSON] for the messages of services, which must be of one package. It returns
// an error if [File] returns an error for services.
func NewJSON(services ...*chassi.Service) (*JSON, error) {
	file, err := newFile(services)
	if err != nil {
		return nil, err
	}
	j := &JSON{enums: make(map[reflect.Type]*enumNames)}
	seen := make(map[*Plan]bool)
	for _, messages := range file.names.ofEndpoint {
		for _, m := range messages {
			j.collect(m.plan, file.names, seen)
		}
	}
	return j, nil
}

func (j *JSON) collect(p *Plan, names *messageNames, seen map[*Plan]bool) {
	if seen[p] {
		return
	}
	seen[p] = true
	for i := range p.fields {
		switch k := p.fields[i].kind; {
		case k.message != nil:
			j.collect(k.message, names, seen)
		case k.enum != nil && j.enums[k.goType] == nil:
			e := &enumNames{names: make(map[int32]string), values: make(map[string]int32)}
			for value := range maps.Keys(k.enum) {
				name := enumValueName(names.ofType(k.goType), k.enum[value])
				e.names[value], e.values[name] = name, value
			}
			j.enums[k.goType] = e
		}
	}
}

// Append appends the JSON form of message, a pointer to the struct of plan p, to b and returns the
// extended buffer. It returns an error for a message that [Plan.Append] cannot encode.
func (j *JSON) Append(b []byte, p *Plan, message any) ([]byte, error) {
	wire, err := p.Append(nil, message)
	if err != nil {
		return b, err
	}
	return j.appendMessage(b, p, wire)
}

// Detail returns the JSON form of d, a detail from [ErrorDetails], or nil if the type of d is
// unknown. It encodes the values of an enum as numbers if no message of the services contains the
// enum.
func (j *JSON) Detail(d ErrorDetail) []byte {
	if d.plan == nil {
		return nil
	}
	b, err := j.appendMessage(nil, d.plan, d.Protobuf)
	if err != nil {
		return nil
	}
	return b
}

// appendMessage appends the JSON form of wire, a message that [Plan.Append] has encoded. It relies
// on the order of such a message: the fields are in the order of their numbers, and the values of
// one field are adjacent.
func (j *JSON) appendMessage(b []byte, p *Plan, wire []byte) ([]byte, error) {
	b = append(b, '{')
	first := true
	for len(wire) > 0 {
		number, _, n := consumeTag(wire)
		f := p.lookup(number)
		if n < 0 || f == nil {
			return b, errTruncated
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = appendString(b, f.jsonName)
		b = append(b, ':')
		var err error
		switch f.form {
		case repeated:
			b, wire, err = j.appendList(b, f, wire)
		case mapped:
			b, wire, err = j.appendMap(b, f, wire)
		default:
			b, wire, err = j.appendValue(b, f.kind, wire[n:])
		}
		if err != nil {
			return b, err
		}
	}
	return append(b, '}'), nil
}

// appendString appends s, which is valid UTF-8, as a JSON string.
func appendString(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s)
	return b
}

// next returns the part of wire after the tag of f, and true. If wire does not begin with this tag,
// next returns wire and false.
func (f *field) next(wire []byte) ([]byte, bool) {
	tag, n := protowire.ConsumeVarint(wire)
	if n < 0 || tag != f.tag {
		return wire, false
	}
	return wire[n:], true
}

func (j *JSON) appendList(b []byte, f *field, wire []byte) (_, rest []byte, err error) {
	b = append(b, '[')
	if f.packed {
		wire, _ = f.next(wire)
		list, n := protowire.ConsumeBytes(wire)
		if n < 0 {
			return b, wire, errTruncated
		}
		for i := 0; len(list) > 0 && err == nil; i++ {
			if i > 0 {
				b = append(b, ',')
			}
			b, list, err = j.appendValue(b, f.kind, list)
		}
		return append(b, ']'), wire[n:], err
	}
	for i := 0; err == nil; i++ {
		value, ok := f.next(wire)
		if !ok {
			break
		}
		if i > 0 {
			b = append(b, ',')
		}
		b, wire, err = j.appendValue(b, f.kind, value)
	}
	return append(b, ']'), wire, err
}

// appendMap appends the entries of f at the start of wire as a JSON object, sorted by their encoded
// text, and returns the rest of wire.
func (j *JSON) appendMap(b []byte, f *field, wire []byte) (_, rest []byte, err error) {
	var entries []string
	for {
		value, ok := f.next(wire)
		if !ok {
			break
		}
		entry, n := protowire.ConsumeBytes(value)
		if n < 0 {
			return b, wire, errTruncated
		}
		text, err := j.entry(f, entry)
		if err != nil {
			return b, wire, err
		}
		entries, wire = append(entries, text), value[n:]
	}
	slices.Sort(entries)
	b = append(b, '{')
	b = append(b, strings.Join(entries, ",")...)
	return append(b, '}'), wire, nil
}

// entry returns wire, an entry of the map f, as a member of a JSON object. It quotes a key that is
// a number or a boolean.
func (j *JSON) entry(f *field, wire []byte) (string, error) {
	_, _, n := consumeTag(wire)
	if n < 0 {
		return "", errTruncated
	}
	k := *f.key
	k.enum = nil // the keys of maps are never enums
	b, wire, err := j.appendValue(nil, &k, wire[n:])
	if err != nil {
		return "", err
	}
	if b[0] != '"' {
		b = append(append([]byte{'"'}, b...), '"')
	}
	if _, _, n = consumeTag(wire); n < 0 {
		return "", errTruncated
	}
	b, _, err = j.appendValue(append(b, ':'), f.kind, wire[n:])
	return string(b), err
}

// appendValue appends the JSON form of the value of kind k at the start of wire, and returns the
// rest of wire.
func (j *JSON) appendValue(b []byte, k *kind, wire []byte) (_, rest []byte, err error) {
	var n int
	switch k.wire {
	case protowire.VarintType:
		var x uint64
		x, n = protowire.ConsumeVarint(wire)
		b = j.appendVarint(b, k, x)
	case protowire.Fixed32Type:
		var x uint32
		x, n = protowire.ConsumeFixed32(wire)
		b = appendFloat(b, float64(math.Float32frombits(x)), 32)
	case protowire.Fixed64Type:
		var x uint64
		x, n = protowire.ConsumeFixed64(wire)
		b = appendFloat(b, math.Float64frombits(x), 64)
	default:
		var body []byte
		if body, n = protowire.ConsumeBytes(wire); n >= 0 {
			b, err = j.appendBytes(b, k, body)
		}
	}
	if n < 0 {
		return b, wire, errTruncated
	}
	return b, wire[n:], err
}

func (j *JSON) appendVarint(b []byte, k *kind, x uint64) []byte {
	switch {
	case k.enum != nil:
		if e := j.enums[k.goType]; e != nil && e.names[int32(x)] != "" {
			return appendString(b, e.names[int32(x)])
		}
		return strconv.AppendInt(b, int64(int32(x)), 10)
	case k.typ == typeBool:
		return strconv.AppendBool(b, x != 0)
	case k.typ == descriptorpb.FieldDescriptorProto_TYPE_INT64:
		return append(strconv.AppendInt(append(b, '"'), int64(x), 10), '"')
	case k.typ == descriptorpb.FieldDescriptorProto_TYPE_UINT64:
		return append(strconv.AppendUint(append(b, '"'), x, 10), '"')
	default:
		return strconv.AppendInt(b, int64(x), 10)
	}
}

func appendFloat(b []byte, x float64, bits int) []byte {
	switch {
	case math.IsNaN(x):
		return append(b, `"NaN"`...)
	case math.IsInf(x, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(x, -1):
		return append(b, `"-Infinity"`...)
	default:
		return strconv.AppendFloat(b, x, 'g', -1, bits)
	}
}

func (j *JSON) appendBytes(b []byte, k *kind, body []byte) ([]byte, error) {
	switch {
	case k.message != nil:
		return j.appendMessage(b, k.message, body)
	case k.known != "":
		seconds, nanos, err := consumeSecondsNanos(body, 0, 0)
		if k.known == timestampName {
			return appendTime(b, seconds, nanos), err
		}
		return appendDuration(b, seconds, nanos), err
	case k.typ == typeBytes:
		return append(base64.StdEncoding.AppendEncode(append(b, '"'), body), '"'), nil
	default:
		return jsontext.AppendQuote(b, body)
	}
}

func appendTime(b []byte, seconds int64, nanos int32) []byte {
	b = time.Unix(seconds, 0).UTC().AppendFormat(append(b, '"'), "2006-01-02T15:04:05")
	return append(appendFraction(b, nanos), `Z"`...)
}

func appendDuration(b []byte, seconds int64, nanos int32) []byte {
	b = append(b, '"')
	if seconds < 0 || nanos < 0 {
		b = append(b, '-')
		seconds, nanos = -seconds, -nanos
	}
	b = strconv.AppendInt(b, seconds, 10)
	return append(appendFraction(b, nanos), `s"`...)
}

// appendFraction appends nanos as a decimal point and 3, 6 or 9 digits, or nothing if nanos is 0.
func appendFraction(b []byte, nanos int32) []byte {
	if nanos == 0 {
		return b
	}
	digits := fmt.Sprintf(".%09d", nanos)
	for strings.HasSuffix(digits, "000") {
		digits = digits[:len(digits)-3]
	}
	return append(b, digits...)
}
