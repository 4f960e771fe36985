package gotype

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/go-json-experiment/json"
)

// builder creates the descriptions of a type and of all types in it. It adds a type to types before
// the description of the type is complete, because types may be recursive.
type builder struct{ types map[reflect.Type]*Type }

var (
	timeType     = reflect.TypeFor[time.Time]()
	durationType = reflect.TypeFor[time.Duration]()
	fileType     = reflect.TypeFor[chassi.File]()
	enumType     = reflect.TypeFor[interface{ EnumNames() map[int32]string }]()

	encodesJSON = []reflect.Type{reflect.TypeFor[json.MarshalerTo](), reflect.TypeFor[json.Marshaler]()}
	decodesJSON = []reflect.Type{reflect.TypeFor[json.UnmarshalerFrom](), reflect.TypeFor[json.Unmarshaler]()}
	encodesText = []reflect.Type{reflect.TypeFor[encoding.TextAppender](), reflect.TypeFor[encoding.TextMarshaler]()}
	decodesText = []reflect.Type{reflect.TypeFor[encoding.TextUnmarshaler]()}
)

// maxTypes is the maximum number of types in one type, including the type itself.
const maxTypes = 10_000

func (b *builder) build(t reflect.Type) (*Type, error) {
	if known := b.types[t]; known != nil {
		return known, nil
	}
	if len(b.types) >= maxTypes {
		return nil, fmt.Errorf("%v: the message with this type contains more than %d types", t, maxTypes)
	}
	out := &Type{Go: t}
	b.types[t] = out
	switch t {
	case timeType:
		out.Kind, out.TextIn, out.TextOut = Time, true, true
		return out, nil
	case durationType:
		out.Kind = Duration
		return out, nil
	case fileType:
		out.Kind = File
		return out, nil
	}
	out.methods()
	if out.scalar() {
		return out, nil
	}
	if out.Encode != Native && out.Decode != Native {
		return out, nil // Opaque: its fields are not used
	}
	return out, b.composite(out)
}

// methods sets TextOut, TextIn, Encode and Decode from the marshal methods of t. A pointer or an
// interface is encoded by the methods of the value that it holds: hasAny finds no methods for it,
// because in Go a pointer to a pointer or to an interface has no methods.
func (t *Type) methods() {
	t.TextOut, t.TextIn = hasAny(t.Go, encodesText), hasAny(t.Go, decodesText)
	t.Encode, t.Decode = form(hasAny(t.Go, encodesJSON), t.TextOut), form(hasAny(t.Go, decodesJSON), t.TextIn)
}

func form(ownJSON, ownText bool) Form {
	switch {
	case ownJSON:
		return JSON
	case ownText:
		return Text
	default:
		return Native
	}
}

func hasAny(t reflect.Type, methods []reflect.Type) bool {
	for _, m := range methods {
		if reflect.PointerTo(t).Implements(m) {
			return true
		}
	}
	return false
}

// scalar reports whether t is a boolean, a number or a string. If so, it sets Kind, and Enum if t
// is an enum.
func (t *Type) scalar() bool {
	switch t.Go.Kind() {
	case reflect.Bool:
		t.Kind = Bool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		t.Kind = Int
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		t.Kind = Uint
	case reflect.Float32, reflect.Float64:
		t.Kind = Float
	case reflect.String:
		t.Kind = String
	default:
		return false
	}
	if (t.Kind == Int || t.Kind == Uint) && t.Go.Implements(enumType) {
		enum, _ := reflect.TypeAssert[interface{ EnumNames() map[int32]string }](reflect.Zero(t.Go))
		t.Enum = enum.EnumNames()
	}
	return true
}

func (b *builder) composite(out *Type) error {
	t := out.Go
	switch t.Kind() {
	case reflect.Pointer:
		out.Kind = Pointer
		if err := pointsToItself(t); err != nil {
			return err
		}
		return b.elem(out)
	case reflect.Slice, reflect.Array:
		if t.Kind() == reflect.Array {
			out.Len = t.Len()
		}
		// A list of bytes of a named type is a list.
		if t.Elem().Kind() == reflect.Uint8 && t.Elem().PkgPath() == "" {
			out.Kind = Bytes
			return nil
		}
		if out.Kind = List; t.Kind() == reflect.Array {
			out.Kind = Array
		}
		return b.elem(out)
	case reflect.Map:
		out.Kind = Map
		var err error
		if out.Key, err = b.build(t.Key()); err != nil {
			return err
		}
		if !out.Key.namesMembers() {
			return fmt.Errorf("%v: the keys of a map must be strings, numbers, durations or types with MarshalText and UnmarshalText, and must have no JSON methods such as MarshalJSON", t)
		}
		return b.elem(out)
	case reflect.Interface:
		if t.NumMethod() > 0 {
			return fmt.Errorf("%v: an interface with methods cannot be decoded", t)
		}
		out.Kind = Any
		return nil
	case reflect.Struct:
		out.Kind = Struct
		return b.fields(out)
	default:
		return fmt.Errorf("%v: a %v cannot be encoded", t, t.Kind())
	}
}

func (b *builder) elem(out *Type) (err error) {
	out.Elem, err = b.build(out.Go.Elem())
	return err
}

// pointsToItself returns an error if t points only to itself, as in type P *P.
func pointsToItself(t reflect.Type) error {
	seen := make(map[reflect.Type]bool)
	for at := t; at.Kind() == reflect.Pointer; at = at.Elem() {
		if seen[at] {
			return fmt.Errorf("%v: the type points only to itself", t)
		}
		seen[at] = true
	}
	return nil
}

// namesMembers reports whether values of t can be the names of members of a JSON object.
func (t *Type) namesMembers() bool {
	for _, f := range []Form{t.Encode, t.Decode} {
		if f == JSON {
			return false // whether it is a string, only its method knows
		}
		if f == Native && t.Kind != String && t.Kind != Int && t.Kind != Uint && t.Kind != Float && t.Kind != Time && t.Kind != Duration {
			return false
		}
	}
	return true
}

// ask returns the error that the JSON library reports about the fields of t, a struct, or nil if
// the library accepts them.
func ask(t *Type) error {
	var err error
	if t.Decode == Native {
		err = json.Unmarshal([]byte("{}"), reflect.New(t.Go).Interface(), json.RejectUnknownMembers(true))
	} else {
		err = marshalZero(t.Go)
	}
	var refused *json.SemanticError
	if errors.As(err, &refused) && refused.JSONPointer == "" && refused.Err != nil {
		return fmt.Errorf("%v: %w", refused.GoType, refused.Err)
	}
	return nil
}

func marshalZero(t reflect.Type) (err error) {
	defer func() { _ = recover() }() // the methods of fields may not expect to be called
	_, err = json.Marshal(reflect.New(t).Interface())
	return err //nolint:wrapcheck // looked into by the caller
}
