// Package gotype describes how Go types are encoded as JSON, as Protocol Buffers, and as HTTP
// parameters. The documents, the codecs, the validation of requests and the digests of requests
// with idempotency keys all use this description, so that they are consistent with the encoding.
//
// Embedding, shadowing, names, options and marshal methods follow the rules of encoding/json as
// applied by package strictjson. [Of] refuses all types that the JSON library would refuse when it
// encodes or decodes the first value, for example because of duplicate field names, misplaced
// options, channels, functions, complex numbers, interfaces with methods, or maps whose keys cannot
// be member names.
package gotype

import (
	"reflect"
	"sync"
)

// Kind is the shape of a type's values.
type Kind uint8

// The kinds of types. A named type has the kind of its underlying type, unless it is Opaque, Time,
// Duration or File.
const (
	Opaque   Kind = iota // not a scalar; encoded and decoded only by its own methods
	Bool                 // true or false
	Int                  // a signed integer
	Uint                 // an unsigned integer
	Float                // a float32 or float64
	String               // a string
	Bytes                // []byte or [N]byte: base64 in JSON
	Time                 // time.Time: RFC 3339 in JSON
	Duration             // time.Duration: seconds in JSON, such as 1.5s
	Any                  // any JSON value
	Pointer              // a pointer to Elem, which may be null in JSON
	List                 // a slice of Elem
	Array                // an array of Len elements of type Elem
	Map                  // a map from Key to Elem
	Struct               // a struct with Fields and, unless it is nil, Rest
	File                 // chassi.File: a field of a message, never JSON
)

// Form states how a type is encoded as JSON or decoded from JSON.
type Form uint8

// The forms of encoding and decoding.
const (
	Native Form = iota // in the JSON library's default form for the Kind
	Text               // as a string, by MarshalText or AppendText, or by UnmarshalText
	JSON               // as any value, by MarshalJSON(To) or by UnmarshalJSON(From)
)

// Type is a Go type that can be encoded as JSON. It is immutable. Types may be recursive.
type Type struct {
	Go     reflect.Type
	Kind   Kind
	Encode Form
	Decode Form

	Elem   *Type   // of a Pointer, List, Array or Map
	Key    *Type   // of a Map
	Len    int     // of an Array, and of Bytes that are [Len]byte
	Fields []Field // of a Struct, in the order in which they are written
	Rest   *Type   // of the members of a Struct that are not Fields (option embed); nil if there are none

	// Enum contains the name of each value of an integer type that has a method EnumNames. It is
	// nil for any other type.
	Enum map[int32]string

	// TextIn reports whether the type has the method UnmarshalText, and TextOut whether it has
	// MarshalText or AppendText. They do not depend on Encode and Decode.
	TextIn, TextOut bool
}

// Field is a field of a struct, or of a struct embedded in it, that is a member in JSON or an
// HTTP parameter.
type Field struct {
	Name  string // the name in Go
	JSON  string // the name of the member in JSON; "" if the field is not a member (json:"-")
	Index []int  // for reflect.Value.FieldByIndex
	Type  *Type
	Tag   reflect.StructTag

	// Source is the part of an HTTP message that carries the field: "path", "query" or "header"
	// of a request, "header", "cookie" or "status" of a response, or "" for the body. Param is the
	// name of the parameter, header or cookie, or the list of statuses.
	Source, Param string

	// Quoted reports whether the field has the option string: a number is encoded as a string.
	Quoted bool
	// OmitZero and OmitEmpty report whether the field has the options omitzero and omitempty.
	OmitZero, OmitEmpty bool
	// Indirect reports whether the field belongs to a struct that is embedded by pointer. The
	// field is absent while the pointer is nil.
	Indirect bool
}

// CallerName returns the name under which clients know the field: Param if Source is set, or else
// the JSON name, or else the Go name.
func (f *Field) CallerName() string {
	switch {
	case f.Source != "":
		return f.Param
	case f.JSON != "":
		return f.JSON
	default:
		return f.Name
	}
}

// Omits reports whether an encoded struct may lack the field.
func (f *Field) Omits() bool {
	return f.Indirect || f.OmitZero || f.OmitEmpty && f.Type.mayBeEmpty()
}

// mayBeEmpty returns false if the kind of t rules out that a value of t is encoded as null, "", []
// or {}. It always returns true for a struct, and for a type that encodes itself, even if their
// encoding is never empty.
func (t *Type) mayBeEmpty() bool {
	if t.Encode != Native {
		return true
	}
	switch t.Kind {
	case Bool, Int, Uint, Float, Time, Duration:
		return false
	case Array, Bytes:
		return t.Len == 0
	default:
		return true
	}
}

var types sync.Map // reflect.Type to *Type

// Of returns the description of t. If t cannot be encoded, it returns an error that states the
// reason and the field, if there is one. Of is safe for concurrent use.
func Of(t reflect.Type) (*Type, error) {
	if known, ok := types.Load(t); ok {
		return known.(*Type), nil //nolint:forcetypeassert // nothing else is stored
	}
	b := builder{types: make(map[reflect.Type]*Type)}
	described, err := b.build(t)
	if err != nil {
		return nil, err
	}
	for t, built := range b.types {
		types.LoadOrStore(t, built)
	}
	return described, nil
}

// HasFile reports whether a value of t can contain a [chassi.File].
func (t *Type) HasFile() bool {
	_, found := t.find(fileType, make(map[*Type]bool))
	return found
}

// Indirect returns the type that t points to, through all pointers, or t itself if it is not a
// pointer.
func (t *Type) Indirect() *Type {
	for t.Kind == Pointer {
		t = t.Elem
	}
	return t
}
