package protobuf

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"github.com/chassi-go/chassi/schema/gotype"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Enum is implemented by integer types with named values. The value 0 must have a name; it means
// "not given".
type Enum interface {
	// EnumNames returns the name of each value, in CamelCase or UPPER_CASE.
	EnumNames() map[int32]string
}

// Plan is the compiled encoding of a struct type. It is immutable and safe for concurrent use.
type Plan struct {
	goType   reflect.Type
	fields   []field
	byNumber []int             // by number up to maxDense: index in fields plus one, or 0
	byName   map[string]*field // by .proto name and by JSON name
}

// form states how the values of a field are encoded.
type form int

const (
	singular form = iota
	optional
	repeated
	mapped
)

// field is one field of a message. For a list or a map, kind is the kind of its elements.
type field struct {
	index    []int
	indirect bool // whether the field is in a struct that is embedded by pointer
	goName   string
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

// kind describes how a single value is encoded and decoded.
type kind struct {
	goType  reflect.Type
	typ     descriptorpb.FieldDescriptorProto_Type
	wire    protowire.Type
	message *Plan            // plan of a message that is not a well-known type; nil for other values
	pointer bool             // whether the Go value is a pointer to the message
	enum    map[int32]string // names of the values of an enum
	known   string           // full name of a well-known type; "" for other types

	append  func(b []byte, v reflect.Value) ([]byte, error)
	consume func(b []byte, v reflect.Value, depth int) (n int, err error)
	isZero  func(v reflect.Value) bool
}

var plans sync.Map // reflect.Type to *Plan

// PlanOf returns the plan of t, a struct type. If t cannot be encoded, it returns an error that
// states the reason and the field, if there is one. PlanOf is safe for concurrent use.
func PlanOf(t reflect.Type) (*Plan, error) {
	if p, ok := plans.Load(t); ok {
		return p.(*Plan), nil
	}
	described, err := gotype.Of(t)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", t, err)
	}
	c := compiler{plans: make(map[reflect.Type]*Plan)}
	if _, err := c.message(described); err != nil {
		return nil, fmt.Errorf("%v: %w", t, err)
	}
	for t, p := range c.plans {
		plans.LoadOrStore(t, p)
	}
	p, _ := plans.Load(t) // that of whoever was first
	return p.(*Plan), nil
}

// compiler compiles the plans of a type and of all types in it. It adds a plan to plans before the
// plan is complete, because types may be recursive.
type compiler struct{ plans map[reflect.Type]*Plan }

func (c *compiler) message(t *gotype.Type) (*Plan, error) {
	if p := c.plans[t.Go]; p != nil {
		return p, nil
	}
	if t.Kind != gotype.Struct {
		return nil, unsupported(t)
	}
	if t.Rest != nil {
		return nil, fmt.Errorf("%v: members that are not fields (the JSON option embed) cannot be in a message", t.Go)
	}
	p := &Plan{goType: t.Go}
	c.plans[t.Go] = p
	var errs []error
	for place := range t.Fields {
		f := &t.Fields[place]
		if f.Source == "cookie" || f.Source == "status" { // of HTTP alone
			continue
		}
		compiled, err := c.field(f, protowire.Number(place+1))
		if err != nil {
			errs = append(errs, fmt.Errorf("field %s: %w", f.Name, err))
			continue
		}
		p.fields = append(p.fields, compiled)
	}
	return p, errors.Join(append(errs, p.finish())...)
}

// finish sorts the fields by number and fills byNumber and byName. It returns an error if two
// fields have the same number or conflicting names.
func (p *Plan) finish() error {
	slices.SortStableFunc(p.fields, func(a, b field) int { return int(a.number) - int(b.number) })
	names := make(map[string]field)
	p.byName = make(map[string]*field, len(p.fields))
	for i := range p.fields {
		p.byName[p.fields[i].name], p.byName[p.fields[i].jsonName] = &p.fields[i], &p.fields[i]
	}
	for i, f := range p.fields {
		if i > 0 && p.fields[i-1].number == f.number {
			return fmt.Errorf("fields %s and %s have the same number %d; give each a tag proto:\"N\" of its own", p.fields[i-1].name, f.name, f.number)
		}
		folded := strings.ReplaceAll(f.name, "_", "") // what protoc compares
		if other, taken := names[folded]; taken {
			return fmt.Errorf("the names %[3]s and %[4]s of fields %[1]s and %[2]s conflict in Protocol Buffers; change a json tag", other.goName, f.goName, other.name, f.name)
		}
		names[folded] = f
		if f.number <= maxDense {
			p.byNumber = append(p.byNumber, make([]int, int(f.number)+1-len(p.byNumber))...)
			p.byNumber[f.number] = i + 1
		}
	}
	return nil
}

// maxDense is the largest field number in the table byNumber of a [Plan]. Fields with larger
// numbers are found by binary search.
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

func (c *compiler) field(f *gotype.Field, place protowire.Number) (field, error) {
	out := field{index: f.Index, indirect: f.Indirect, goName: f.Name, number: place, doc: f.Tag.Get("doc")}
	out.jsonName = cmp.Or(f.JSON, f.Name)
	out.name = fieldName(out.jsonName)
	if tag, ok := f.Tag.Lookup("proto"); ok {
		n, err := strconv.ParseInt(tag, 10, 32)
		if err != nil {
			return out, fmt.Errorf("tag proto:%q: want a number from 1 to %d", tag, protowire.MaxValidNumber)
		}
		out.number = protowire.Number(n)
	}
	if !out.number.IsValid() || out.number >= protowire.FirstReservedNumber && out.number <= protowire.LastReservedNumber {
		return out, fmt.Errorf("number %d: want 1 to %d, except %d to %d", out.number, protowire.MaxValidNumber, protowire.FirstReservedNumber, protowire.LastReservedNumber)
	}
	if err := c.shape(&out, f.Type); err != nil {
		return out, err
	}
	wire := out.kind.wire
	if out.form == mapped || out.packed {
		wire = protowire.BytesType
	}
	out.tag = protowire.EncodeTag(out.number, wire)
	return out, nil
}

// shape sets form, key, kind and packed of f according to t, the type of the field. It returns an
// error if t cannot be encoded.
func (c *compiler) shape(f *field, t *gotype.Type) (err error) {
	if k, err := c.kind(t); k != nil || err != nil {
		f.kind = k
		return err
	}
	switch t.Kind {
	case gotype.Pointer:
		f.form = optional
		f.kind, err = c.single(t.Elem)
	case gotype.List:
		f.form = repeated
		f.kind, err = c.single(t.Elem)
		f.packed = err == nil && f.kind.wire != protowire.BytesType
	case gotype.Map:
		f.form = mapped
		if f.key, err = mapKey(t.Key); err == nil {
			f.kind, err = c.single(t.Elem)
		}
	default:
		return unsupported(t)
	}
	return err
}

func unsupported(t *gotype.Type) error {
	return fmt.Errorf("%v cannot be in a message of Protocol Buffers; package protobuf lists the types that can", t.Go)
}

// single returns the kind of t, the element type of a pointer, a list or a map. It returns an error
// if t has no kind, for example because t is a slice other than []byte, or a map.
func (c *compiler) single(t *gotype.Type) (*kind, error) {
	k, err := c.kind(t)
	if k == nil && err == nil {
		err = unsupported(t)
	}
	return k, err
}

func mapKey(t *gotype.Type) (*kind, error) {
	switch {
	case t.TextIn && t.TextOut && t.Kind != gotype.Time:
		return textKind(t.Go), nil
	case t.Kind == gotype.Int, t.Kind == gotype.Uint, t.Kind == gotype.String:
		if k := scalarKind(t.Go); k != nil {
			return k, nil
		}
		return nil, unsupported(t)
	default:
		return nil, fmt.Errorf("the keys of a map in Protocol Buffers must be integers, strings or types other than time.Time with MarshalText and UnmarshalText, not %v", t.Go)
	}
}

// kind returns the kind of t, or nil and no error if a value of t is not encoded as a single value.
func (c *compiler) kind(t *gotype.Type) (*kind, error) {
	switch {
	case t.Kind == gotype.Time:
		return timestampKind(), nil
	case t.Kind == gotype.Duration:
		return durationKind(), nil
	case t.Enum != nil:
		return enumKind(t)
	case t.TextIn && t.TextOut:
		return textKind(t.Go), nil
	case t.Kind == gotype.Struct:
		p, err := c.message(t)
		return messageKind(t.Go, p, false), err
	case t.Kind == gotype.Pointer && t.Elem.Kind == gotype.Struct && (!t.Elem.TextIn || !t.Elem.TextOut):
		p, err := c.message(t.Elem)
		return messageKind(t.Go, p, true), err
	default:
		return scalarKind(t.Go), nil
	}
}

func enumKind(t *gotype.Type) (*kind, error) {
	k := scalarKind(t.Go)
	k.enum = t.Enum
	k.typ = descriptorpb.FieldDescriptorProto_TYPE_ENUM
	if t.Enum[0] == "" || t.Go.Name() == "" {
		return nil, fmt.Errorf("enum %v has no name for 0", t.Go)
	}
	for _, v := range slices.Sorted(maps.Keys(t.Enum)) {
		if zero := reflect.Zero(t.Go); zero.CanInt() && zero.OverflowInt(int64(v)) || zero.CanUint() && (v < 0 || zero.OverflowUint(uint64(v))) {
			return nil, fmt.Errorf("enum %v has value %d, which %v cannot hold", t.Go, v, t.Go.Kind())
		}
	}
	return k, nil
}

// fieldName derives the name of a field in a .proto file from its name in JSON: "user_id" from
// "userID" or "user-id". Each character outside of ASCII is replaced with "u" and its code point in
// hexadecimal, and a name that begins with a digit or consists of underscores is prefixed with
// "field_".
func fieldName(jsonName string) string {
	name := snakeCase(jsonName)
	if strings.Trim(name, "_") == "" || name[0] >= '0' && name[0] <= '9' {
		name = "field_" + name
	}
	return name
}

// snakeCase converts s to a name of lower-case words separated by underscores, such as "user_id"
// for "userID" or "user-id". It replaces each character outside of ASCII with "u" and its code
// point in hexadecimal.
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
		case r > unicode.MaxASCII:
			fmt.Fprintf(&b, "u%x", r)
		default:
			b.WriteByte('_')
		}
	}
	return b.String()
}

func isLower(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }
