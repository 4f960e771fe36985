package protobuf

import (
	"encoding"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Enum is an integer type whose values have names. There must be one for 0,
// which stands for "not given".
type Enum interface {
	// EnumNames returns the name of each value, in CamelCase or UPPER_CASE.
	EnumNames() map[int32]string
}

// Plan is how one struct type is written and read. It is immutable and safe for
// concurrent use.
type Plan struct {
	goType   reflect.Type
	name     string // in the .proto file
	fields   []field
	byNumber []int // number to index in fields plus one, for small numbers
}

// form is how values of a field stand on the wire.
type form int

const (
	singular form = iota
	optional
	repeated
	mapped
)

// field is one field of a message. For a map, kind is that of its values.
type field struct {
	index    []int
	number   protowire.Number
	name     string
	jsonName string
	doc      string
	form     form
	kind     *kind
	key      *kind // of a map
	tag      uint64
	packed   bool
}

// kind is how a single value is written and read.
type kind struct {
	goType  reflect.Type
	typ     descriptorpb.FieldDescriptorProto_Type
	wire    protowire.Type
	message *Plan // of a message of ours
	pointer bool  // the Go value is a pointer to the message
	enum    Enum
	known   string // the well-known type's name

	append  func(b []byte, v reflect.Value) ([]byte, error)
	consume func(b []byte, v reflect.Value, depth int) (n int, err error)
	isZero  func(v reflect.Value) bool
}

var plans sync.Map // reflect.Type to *Plan

// PlanOf returns the plan of a struct type, or says which field cannot be a
// field of a message and why.
func PlanOf(t reflect.Type) (*Plan, error) {
	if p, ok := plans.Load(t); ok {
		return p.(*Plan), nil
	}
	c := compiler{plans: make(map[reflect.Type]*Plan)}
	p, err := c.message(t, "")
	if err != nil {
		return nil, fmt.Errorf("protobuf: %v: %w", t, err)
	}
	for t, p := range c.plans {
		plans.LoadOrStore(t, p)
	}
	return p, nil
}

// compiler makes the plans of a type and of all types in it. A type that is under
// way is in plans already, so that types may hold themselves.
type compiler struct{ plans map[reflect.Type]*Plan }

// message makes the plan of a struct. A type without a name gets otherwise.
func (c *compiler) message(t reflect.Type, otherwise string) (*Plan, error) {
	if p := c.plans[t]; p != nil {
		return p, nil
	}
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("is no struct but a %v", t.Kind())
	}
	p := &Plan{goType: t, name: messageName(t, otherwise)}
	c.plans[t] = p
	var errs []error
	for place, f := range wireFields(t) {
		compiled, err := c.field(p.name, f, protowire.Number(place+1))
		if err != nil {
			errs = append(errs, fmt.Errorf("field %s: %w", f.Name, err))
			continue
		}
		p.fields = append(p.fields, compiled)
	}
	return p, errors.Join(append(errs, p.finish())...)
}

// finish sorts the fields and looks for what is there twice.
func (p *Plan) finish() error {
	slices.SortStableFunc(p.fields, func(a, b field) int { return int(a.number) - int(b.number) })
	names := make(map[string]string)
	for i, f := range p.fields {
		if i > 0 && p.fields[i-1].number == f.number {
			return fmt.Errorf("fields %s and %s have both number %d: give each a tag proto:\"N\" of its own", p.fields[i-1].name, f.name, f.number)
		}
		if names[f.name] != "" {
			return fmt.Errorf("two fields are called %s", f.name)
		}
		names[f.name] = f.name
		if f.number <= maxDense {
			p.byNumber = append(p.byNumber, make([]int, int(f.number)+1-len(p.byNumber))...)
			p.byNumber[f.number] = i + 1
		}
	}
	return nil
}

// maxDense bounds the table from number to field; larger numbers are searched.
const maxDense = 64

func (p *Plan) lookup(n protowire.Number) *field {
	if int(n) < len(p.byNumber) {
		if i := p.byNumber[n]; i > 0 {
			return &p.fields[i-1]
		}
		return nil
	}
	i, ok := slices.BinarySearchFunc(p.fields, n, func(f field, n protowire.Number) int { return int(f.number) - int(n) })
	if !ok {
		return nil
	}
	return &p.fields[i]
}

// wireFields returns the fields of t that are on the wire, those of embedded
// structs in their place.
func wireFields(t reflect.Type) []reflect.StructField {
	var fields []reflect.StructField
	for i := range t.NumField() {
		f := t.Field(i)
		switch {
		case f.Anonymous && f.Type.Kind() == reflect.Struct && f.Tag.Get("json") == "":
			for _, inner := range wireFields(f.Type) {
				inner.Index = append([]int{i}, inner.Index...)
				fields = append(fields, inner)
			}
		case !f.IsExported(), f.Tag.Get("json") == "-" && !fromElsewhere(f):
		default:
			fields = append(fields, f)
		}
	}
	return fields
}

// fromElsewhere tells whether HTTP takes the field from outside of the body.
func fromElsewhere(f reflect.StructField) bool {
	for _, source := range []string{"path", "query", "header"} {
		if _, ok := f.Tag.Lookup(source); ok {
			return true
		}
	}
	return false
}

func (c *compiler) field(message string, f reflect.StructField, place protowire.Number) (field, error) {
	out := field{index: f.Index, number: place, doc: f.Tag.Get("doc")}
	out.name, out.jsonName = fieldNames(f)
	if tag, ok := f.Tag.Lookup("proto"); ok {
		n, err := strconv.ParseInt(tag, 10, 32)
		if err != nil {
			return out, fmt.Errorf("tag proto:%q: want a number", tag)
		}
		out.number = protowire.Number(n)
	}
	if !out.number.IsValid() || out.number >= protowire.FirstReservedNumber && out.number <= protowire.LastReservedNumber {
		return out, fmt.Errorf("number %d: want 1 to %d, and none of %d to %d", out.number, protowire.MaxValidNumber, protowire.FirstReservedNumber, protowire.LastReservedNumber)
	}
	if err := c.shape(&out, f.Type, message+upperFirst(f.Name)); err != nil {
		return out, err
	}
	wire := out.kind.wire
	if out.form == mapped || out.packed {
		wire = protowire.BytesType
	}
	out.tag = protowire.EncodeTag(out.number, wire)
	return out, nil
}

// shape finds form and kinds of a field's type.
func (c *compiler) shape(f *field, t reflect.Type, otherwise string) (err error) {
	if k, err := c.kind(t, otherwise); k != nil || err != nil {
		f.kind = k
		return err
	}
	switch t.Kind() {
	case reflect.Pointer:
		f.form = optional
		f.kind, err = c.single(t.Elem(), otherwise)
	case reflect.Slice:
		f.form = repeated
		f.kind, err = c.single(t.Elem(), otherwise)
		f.packed = err == nil && f.kind.wire != protowire.BytesType
	case reflect.Map:
		f.form = mapped
		if f.key, err = c.mapKey(t.Key()); err == nil {
			f.kind, err = c.single(t.Elem(), otherwise)
		}
	default:
		return unsupported(t)
	}
	return err
}

func unsupported(t reflect.Type) error {
	return fmt.Errorf("type %v has no place in a message; package protobuf lists those that have", t)
}

// single wants one value: neither a slice nor a map nor a pointer to a scalar.
func (c *compiler) single(t reflect.Type, otherwise string) (*kind, error) {
	k, err := c.kind(t, otherwise)
	if k == nil && err == nil {
		err = unsupported(t)
	}
	return k, err
}

func (c *compiler) mapKey(t reflect.Type) (*kind, error) {
	k := scalarKind(t)
	if k == nil || k.typ == descriptorpb.FieldDescriptorProto_TYPE_BYTES ||
		k.typ == descriptorpb.FieldDescriptorProto_TYPE_FLOAT || k.typ == descriptorpb.FieldDescriptorProto_TYPE_DOUBLE {
		return nil, fmt.Errorf("the keys of a map are bool, integers or strings, not %v", t)
	}
	return k, nil
}

var (
	timeType        = reflect.TypeFor[time.Time]()
	durationType    = reflect.TypeFor[time.Duration]()
	enumType        = reflect.TypeFor[Enum]()
	marshalerType   = reflect.TypeFor[encoding.TextMarshaler]()
	unmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// kind returns nil and nil for what is no single value by itself.
func (c *compiler) kind(t reflect.Type, otherwise string) (*kind, error) {
	switch {
	case t == timeType:
		return timestampKind(), nil
	case t == durationType:
		return durationKind(), nil
	case t.Implements(enumType) && t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64:
		return enumKind(t)
	case isText(t):
		return textKind(t), nil
	case t.Kind() == reflect.Struct:
		p, err := c.message(t, otherwise)
		return messageKind(t, p, false), err
	case t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct && t.Elem() != timeType && !isText(t.Elem()):
		p, err := c.message(t.Elem(), otherwise)
		return messageKind(t, p, true), err
	default:
		return scalarKind(t), nil
	}
}

// isText tells whether a type has a text form, in both directions.
func isText(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface && p.Implements(marshalerType) && p.Implements(unmarshalerType)
}

func enumKind(t reflect.Type) (*kind, error) {
	k := scalarKind(t)
	k.enum = reflect.Zero(t).Interface().(Enum)
	k.typ = descriptorpb.FieldDescriptorProto_TYPE_ENUM
	names := k.enum.EnumNames()
	if names[0] == "" || t.Name() == "" {
		return nil, fmt.Errorf("enum %v has no name for 0", t)
	}
	if size := t.Bits(); size < 32 {
		for _, v := range slices.Sorted(maps.Keys(names)) {
			if int64(v) >= 1<<(size-1) || int64(v) < -1<<(size-1) {
				return nil, fmt.Errorf("enum %v has value %d, which %d bits cannot hold", t, v, size)
			}
		}
	}
	return k, nil
}

// messageName is the type's own, or otherwise for one without a name. What stands
// in brackets behind a generic type's name becomes part of it.
func messageName(t reflect.Type, otherwise string) string {
	name, arguments, generic := strings.Cut(t.Name(), "[")
	if generic {
		words := []string{name}
		for argument := range strings.SplitSeq(strings.TrimSuffix(arguments, "]"), ",") {
			words = append(words, upperFirst(argument[strings.LastIndexAny(argument, "./")+1:]))
		}
		name = strings.Join(words, "")
	}
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, name)
	if name == "" {
		return otherwise
	}
	return upperFirst(name)
}

func upperFirst(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// fieldNames returns the names in a .proto file and in JSON.
func fieldNames(f reflect.StructField) (name, jsonName string) {
	jsonName, _, _ = strings.Cut(f.Tag.Get("json"), ",")
	if jsonName == "" || jsonName == "-" {
		jsonName = f.Name
	}
	return snakeCase(jsonName), jsonName
}

// snakeCase turns "userID" and "user-id" into "user_id".
func snakeCase(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r >= 'A' && r <= 'Z':
			if i > 0 && (isLower(s[i-1]) || i+1 < len(s) && isLower(s[i+1]) && s[i-1] != '_') {
				b.WriteByte('_')
			}
			b.WriteRune(r + 'a' - 'A')
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		default:
			b.WriteByte('_')
		}
	}
	return b.String()
}

func isLower(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }
