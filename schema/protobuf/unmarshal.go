package protobuf

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/chassi-go/chassi"
	"google.golang.org/protobuf/encoding/protowire"
)

var errMalformed = chassi.NewError(chassi.InvalidArgument, "malformed_request", "The request is malformed")

// Decode reads data into message, a pointer to the plan's struct, which is to be
// zero. Fields that the struct does not have are skipped. It returns a
// [chassi.InvalidArgument] that names the field for what is malformed: truncated
// data, text that is not UTF-8, messages nested deeper than a hundred times.
func (p *Plan) Decode(data []byte, message any) error {
	v := reflect.ValueOf(message)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Type().Elem() != p.goType {
		return fmt.Errorf("protobuf: cannot read %T as %v", message, p.goType)
	}
	err := p.consume(data, v.Elem(), maxDepth)
	if err == nil {
		return nil
	}
	violation := chassi.Violation{Message: err.Error()}
	if at, ok := errors.AsType[*fieldError](err); ok {
		violation = chassi.Violation{Field: at.path(), Message: at.cause.Error()}
	}
	return errMalformed.WithViolations(violation)
}

// fieldError says where a message is malformed, innermost field last.
type fieldError struct {
	names []string // outermost last
	cause error
}

func (e *fieldError) Error() string { return e.path() + " " + e.cause.Error() }

func (e *fieldError) path() string {
	var b strings.Builder
	for _, name := range slices.Backward(e.names) {
		if b.Len() > 0 && !strings.HasPrefix(name, "[") {
			b.WriteByte('.')
		}
		b.WriteString(name)
		if b.Len() > maxPath {
			return b.String()[:maxPath] + "…"
		}
	}
	return b.String()
}

const maxPath = 100

func at(name string, err error) error {
	if inner, ok := err.(*fieldError); ok {
		inner.names = append(inner.names, name)
		return inner
	}
	return &fieldError{names: []string{name}, cause: err}
}

func (p *Plan) consume(b []byte, v reflect.Value, depth int) error {
	if depth--; depth < 0 {
		return errDepth
	}
	for len(b) > 0 {
		number, wire, n := consumeTag(b)
		if n < 0 {
			return errTruncated
		}
		b = b[n:]
		f := p.lookup(number)
		if f == nil || !f.takes(wire) {
			if n = protowire.ConsumeFieldValue(number, wire, b); n < 0 {
				return errTruncated
			}
			b = b[n:]
			continue
		}
		n, err := f.consume(b, wire, f.in(v), depth)
		if n < 0 {
			err = errTruncated
		}
		if err != nil {
			return at(f.name, err)
		}
		b = b[n:]
	}
	return nil
}

// consumeTag refuses numbers that no field can have.
func consumeTag(b []byte) (protowire.Number, protowire.Type, int) {
	number, wire, n := protowire.ConsumeTag(b)
	if n > 0 && number > protowire.MaxValidNumber {
		n = -1
	}
	return number, wire, n
}

// takes tells whether a value of that wire type can be the field's. Otherwise it
// is skipped, like one of a field that is not known.
func (f *field) takes(wire protowire.Type) bool {
	switch f.form {
	case mapped:
		return wire == protowire.BytesType
	case repeated:
		return wire == f.kind.wire || f.packed && wire == protowire.BytesType
	default:
		return wire == f.kind.wire
	}
}

func (f *field) consume(b []byte, wire protowire.Type, v reflect.Value, depth int) (int, error) {
	switch f.form {
	case optional:
		if v.IsNil() {
			v.Set(reflect.New(f.kind.goType))
		}
		return f.kind.consume(b, v.Elem(), depth)
	case repeated:
		if f.packed && wire == protowire.BytesType {
			return f.consumePacked(b, v, depth)
		}
		n, err := f.kind.consume(b, grow(v), depth)
		if err != nil {
			err = at("["+strconv.Itoa(v.Len()-1)+"]", err)
		}
		return n, err
	case mapped:
		return f.consumeEntry(b, v, depth)
	default:
		return f.kind.consume(b, v, depth)
	}
}

// grow makes room for one more and returns it.
func grow(list reflect.Value) reflect.Value {
	n := list.Len()
	if n == list.Cap() {
		list.Grow(1)
	}
	list.SetLen(n + 1)
	item := list.Index(n)
	item.SetZero()
	return item
}

func (f *field) consumePacked(b []byte, v reflect.Value, depth int) (int, error) {
	body, n := protowire.ConsumeBytes(b)
	if n < 0 {
		return n, nil
	}
	for len(body) > 0 {
		used, err := f.kind.consume(body, grow(v), depth)
		if used < 0 {
			err = errTruncated
		}
		if err != nil {
			return n, at("["+strconv.Itoa(v.Len()-1)+"]", err)
		}
		body = body[used:]
	}
	return n, nil
}

// consumeEntry reads one entry of a map, which is a message of key and value.
func (f *field) consumeEntry(b []byte, v reflect.Value, depth int) (int, error) {
	body, n := protowire.ConsumeBytes(b)
	if n < 0 {
		return n, nil
	}
	key, value := reflect.New(f.key.goType).Elem(), reflect.New(f.kind.goType).Elem()
	if f.kind.pointer {
		value.Set(reflect.New(f.kind.message.goType))
	}
	for len(body) > 0 {
		number, wire, used := consumeTag(body)
		if used < 0 {
			return n, errTruncated
		}
		body = body[used:]
		var err error
		switch {
		case number == 1 && wire == f.key.wire:
			used, err = f.key.consume(body, key, depth)
		case number == 2 && wire == f.kind.wire:
			used, err = f.kind.consume(body, value, depth)
		default:
			used = protowire.ConsumeFieldValue(number, wire, body)
		}
		if used < 0 {
			err = errTruncated
		}
		if err != nil {
			return n, err
		}
		body = body[used:]
	}
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	v.SetMapIndex(key, value)
	return n, nil
}

func consumeDelimited(b []byte, p *Plan, v reflect.Value, depth int) (int, error) {
	body, n := protowire.ConsumeBytes(b)
	if n < 0 {
		return n, nil
	}
	return n, p.consume(body, v, depth)
}
