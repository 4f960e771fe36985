// Package gotype describes Go types as they are encoded: as JSON, Protocol Buffers and
// parameters. The documents, the codecs, the validation of requests and the digests of
// idempotency keys all use this description, so that they are consistent with the encoding.
//
// The rules are those of encoding/json as applied by package strictjson: embedding, shadowing,
// names, options and marshal methods. [Of] refuses all types that the JSON library would refuse
// at the first value, for example because of duplicate field names, misplaced options, channels,
// functions, complex numbers, interfaces with methods, or maps whose keys cannot be member names.
package gotype

import (
	"reflect"
	"sync"
)

// Kind is the shape of a type's values.
type Kind uint8

// The kinds. A Go type of a named kind has the kind of its underlying type.
const (
	Opaque   Kind = iota // encoded and decoded only by its own methods
	Bool                 // true or false
	Int                  // a signed integer
	Uint                 // an unsigned integer
	Float                // a float32 or float64
	String               // text
	Bytes                // []byte or [N]byte: base64 in JSON
	Time                 // time.Time: RFC 3339 in JSON
	Duration             // time.Duration: seconds in JSON, such as 1.5s
	Any                  // any JSON value
	Pointer              // Elem, or null
	List                 // a slice of Elem
	Array                // Len times Elem
	Map                  // from Key to Elem
	Struct               // Fields, and Rest
	File                 // chassi.File: a field of a message, never JSON
)

// Form is the way in which a type is encoded in JSON.
type Form uint8

// The forms.
const (
	Native Form = iota // as the JSON library encodes the Kind
	Text               // as a string, by MarshalText or AppendText, and UnmarshalText
	JSON               // as any value, by MarshalJSON or MarshalJSONTo, and UnmarshalJSON or UnmarshalJSONFrom
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

	// Enum contains the names of the values of an integer type that has a method EnumNames.
	Enum map[int32]string

	// TextIn reports whether the type has UnmarshalText, and TextOut whether it has MarshalText
	// or AppendText, whatever the Form in JSON.
	TextIn, TextOut bool
}

// Field is a field of a struct, or of a struct embedded in it, that is a member in JSON or an
// HTTP parameter.
type Field struct {
	Name  string // in Go
	JSON  string // the name of the member, "" for a field without one (json:"-")
	Index []int  // for reflect.Value.FieldByIndex
	Type  *Type
	Tag   reflect.StructTag

	// Source is where HTTP carries the field instead of the body: "path", "query" or "header" in
	// a request, "header", "cookie" or "status" in a response, or "" for a field of the body.
	// Param is the name of the field there, or the list of statuses.
	Source, Param string

	// Quoted is the option string: a number is written as a string.
	Quoted bool
	// OmitZero and OmitEmpty report whether the field has the options omitzero and omitempty.
	OmitZero, OmitEmpty bool
	// Indirect reports whether the field is in an embedded struct behind a pointer. The field is
	// absent while that pointer is nil.
	Indirect bool
}

// CallerName returns the name of the field for clients: the name of the parameter or of the
// member, or else the Go name.
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

// mayBeEmpty reports whether a value can be encoded as null, "", [] or {}.
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

// Of returns the description of t. The error names the field that cannot be encoded, and states
// the reason. Of is safe for concurrent use.
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

// HasFile reports whether a value of the type can contain a [chassi.File].
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
