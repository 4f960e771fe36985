package strictjson

import (
	"bytes"
	"reflect"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/gotype"
	"github.com/go-json-experiment/json/jsontext"
)

// refuseNull returns an error if data, which has been decoded into a value of type t, contains null
// in place of a value that cannot be null. The JSON library decodes such a null as the zero value.
// Pointers, interfaces, and types that decode JSON themselves may be null, and so may slices and
// maps that are not decoded from text.
func refuseNull(data []byte, t reflect.Type) error {
	if !mayHaveNull(data) {
		return nil
	}
	described, err := gotype.Of(t)
	if err != nil {
		return nil //nolint:nilerr // the library has read it: it knows more
	}
	c := nullCheck{jsontext.NewDecoder(bytes.NewReader(data)), t}
	return c.value(described)
}

// mayHaveNull reports whether data, a JSON object, may contain null. It returns false only if data
// contains no null. In data without arrays, null can only follow a colon. Such data is searched for
// colons, because long strings such as tokens contain many more letters n than colons.
func mayHaveNull(data []byte) bool {
	if bytes.IndexByte(data, '[') >= 0 {
		return bytes.Contains(data, []byte("null"))
	}
	for {
		i := bytes.IndexByte(data, ':') + 1
		if i == 0 {
			return false
		}
		for i < len(data) && data[i] <= ' ' {
			i++
		}
		if data = data[i:]; len(data) > 0 && data[0] == 'n' {
			return true
		}
	}
}

// nullCheck reads a message of type root for a second time, after it was decoded, to find values
// that must not be null.
type nullCheck struct {
	*jsontext.Decoder

	root reflect.Type
}

// value reads the next value, which is of type t, and returns an error if it is or contains a null
// that is not permitted. If t is nil, any value is permitted.
func (d *nullCheck) value(t *gotype.Type) error {
	kind := d.PeekKind()
	if t != nil && kind != 'n' {
		t = t.Indirect()
	}
	if t == nil || t.Decode == gotype.JSON || t.Kind == gotype.Any {
		return d.SkipValue()
	}
	_, err := d.ReadToken()
	switch {
	case err != nil:
		return err
	case kind == 'n' && !mayBeNull(t):
		return errMalformed.WithViolations(chassi.Violation{Field: fieldOf(d.StackPointer(), d.root), Message: "must not be null"})
	case kind == '{':
		return d.members(t)
	case kind != '[':
		return nil
	}
	for d.PeekKind() != ']' {
		if err := d.value(t.Elem); err != nil {
			return err
		}
	}
	_, err = d.ReadToken()
	return err
}

func (d *nullCheck) members(t *gotype.Type) error {
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		if err := d.value(memberOf(t, name.String())); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

// memberOf returns the type of the named member of t, a struct or a map, or nil if the type is
// unknown.
func memberOf(t *gotype.Type, name string) *gotype.Type {
	if t.Kind != gotype.Struct {
		return t.Elem
	}
	for i := range t.Fields {
		if t.Fields[i].JSON == name {
			return t.Fields[i].Type
		}
	}
	return t.Rest
}

func mayBeNull(t *gotype.Type) bool {
	switch t.Kind {
	case gotype.Pointer:
		return true
	case gotype.List, gotype.Map:
		return t.Decode == gotype.Native
	case gotype.Bytes:
		return t.Decode == gotype.Native && t.Go.Kind() == reflect.Slice
	default:
		return false
	}
}
