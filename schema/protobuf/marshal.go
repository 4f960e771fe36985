package protobuf

import (
	"fmt"
	"reflect"

	"google.golang.org/protobuf/encoding/protowire"
)

// Append appends the encoding of message, a pointer to the plan's struct, to b and returns the
// extended buffer. It returns an error if message is nil, is of another type or contains a value
// that cannot be encoded, such as a string that is not UTF-8 or a time outside of the years 1 to
// 9999.
func (p *Plan) Append(b []byte, message any) ([]byte, error) {
	v, err := p.target("encode", message)
	if err != nil {
		return b, err
	}
	b, err = p.append(b, v)
	if err != nil {
		return b, fmt.Errorf("protobuf: %v: %w", p.goType, err)
	}
	return b, nil
}

// target returns the struct that message points to. It returns an error, in which action is the
// intended use of message, if message is not a pointer to the plan's struct or is nil.
func (p *Plan) target(action string, message any) (reflect.Value, error) {
	v := reflect.ValueOf(message)
	switch {
	case v.Kind() != reflect.Pointer || v.Type().Elem() != p.goType:
		return v, fmt.Errorf("protobuf: cannot %s a %T: want a *%v", action, message, p.goType)
	case v.IsNil():
		return v, fmt.Errorf("protobuf: cannot %s a nil %T", action, message)
	}
	return v.Elem(), nil
}

func (p *Plan) append(b []byte, v reflect.Value) ([]byte, error) {
	var err error
	for i := range p.fields {
		f := &p.fields[i]
		value, ok := f.in(v)
		if !ok {
			continue
		}
		if b, err = f.append(b, value); err != nil {
			return b, at(f.step(), err)
		}
	}
	return b, nil
}

// in returns the value of the field in message. The result ok is false if the field is in an
// embedded struct and the pointer to this struct is nil.
func (f *field) in(message reflect.Value) (v reflect.Value, ok bool) {
	if len(f.index) == 1 {
		return message.Field(f.index[0]), true
	}
	if !f.indirect {
		return message.FieldByIndex(f.index), true
	}
	v, err := message.FieldByIndexErr(f.index)
	return v, err == nil
}

// into returns the settable value of the field in message. It allocates the embedded structs that
// contain the field and whose pointers are nil.
func (f *field) into(message reflect.Value) reflect.Value {
	if !f.indirect {
		v, _ := f.in(message)
		return v
	}
	v := message
	for _, i := range f.index {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	return v
}

func (f *field) append(b []byte, v reflect.Value) ([]byte, error) {
	switch f.form {
	case optional:
		if v.IsNil() {
			return b, nil
		}
		return f.kind.append(protowire.AppendVarint(b, f.tag), v.Elem())
	case repeated:
		return f.appendList(b, v)
	case mapped:
		return f.appendMap(b, v)
	default:
		if f.kind.isZero(v) {
			return b, nil
		}
		start := len(b)
		b, err := f.kind.append(protowire.AppendVarint(b, f.tag), v)
		if f.kind.message != nil && !f.kind.pointer && b[len(b)-1] == 0 && len(b)-start == protowire.SizeVarint(f.tag)+1 {
			b = b[:start] // a struct without anything in it
		}
		return b, err
	}
}

func (f *field) appendList(b []byte, v reflect.Value) (_ []byte, err error) {
	count := v.Len()
	if count == 0 {
		return b, nil
	}
	if !f.packed {
		for i := range count {
			if b, err = f.kind.append(protowire.AppendVarint(b, f.tag), v.Index(i)); err != nil {
				return b, at(index(i), err)
			}
		}
		return b, nil
	}
	b = protowire.AppendVarint(b, f.tag)
	start := len(b)
	b = append(b, 0)
	for i := range count {
		if b, err = f.kind.append(b, v.Index(i)); err != nil {
			return b, err
		}
	}
	return setLength(b, start), nil
}

func (f *field) appendMap(b []byte, v reflect.Value) (_ []byte, err error) {
	for entries := v.MapRange(); entries.Next(); {
		b = protowire.AppendVarint(b, f.tag)
		start := len(b)
		b = append(b, 0)
		b = protowire.AppendTag(b, 1, f.key.wire)
		if b, err = f.key.append(b, entries.Key()); err != nil {
			return b, err
		}
		b = protowire.AppendTag(b, 2, f.kind.wire)
		if b, err = f.kind.append(b, entries.Value()); err != nil {
			return b, err
		}
		b = setLength(b, start)
	}
	return b, nil
}

// appendDelimited appends v, a message of plan p, preceded by its length.
func appendDelimited(b []byte, p *Plan, v reflect.Value) ([]byte, error) {
	start := len(b)
	b, err := p.append(append(b, 0), v)
	return setLength(b, start), err
}

// setLength writes the length of the bytes after index start to b[start], and returns b. If the
// length needs more than one byte, setLength moves the bytes after start.
func setLength(b []byte, start int) []byte {
	length := uint64(len(b) - start - 1)
	if length < 1<<7 {
		b[start] = byte(length)
		return b
	}
	size := protowire.SizeVarint(length)
	b = append(b, make([]byte, size-1)...)
	copy(b[start+size:], b[start+1:])
	protowire.AppendVarint(b[:start], length)
	return b
}
