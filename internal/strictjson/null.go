package strictjson

import (
	"bytes"
	"reflect"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/gotype"
	"github.com/go-json-experiment/json/jsontext"
)

// refuseNull returns an error for a null in place of a value that cannot be null, which the
// library decodes as the zero value. Pointers, lists, maps and types with their own decoding
// may be null. Data has been decoded into a value of type t.
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

// mayHaveNull reports whether data may have a null. It returns false only if data has none. In data
// without lists a null follows a colon; colons are faster to find, because tokens and other long
// texts have many n.
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

// nullCheck reads data, which was decoded before, a second time to find nulls.
type nullCheck struct {
	*jsontext.Decoder

	root reflect.Type
}

// value reads the next value, and returns an error if it has a null where none is allowed. The type
// of the value is t, which is nil if the value may be anything.
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

// memberOf returns the type of an object's member, or nil if it is unknown.
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
