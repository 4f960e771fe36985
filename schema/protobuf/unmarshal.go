package protobuf

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/safetext"
	"google.golang.org/protobuf/encoding/protowire"
)

var errMalformed = chassi.NewError(chassi.InvalidArgument, "malformed_request", "The request is malformed")

// Decode decodes data into message, a pointer to the plan's struct, which must be zero. Unknown
// fields are skipped. It returns a [chassi.InvalidArgument] that names the field if data is
// malformed, for example if it is truncated, not UTF-8, or nested deeper than 100 messages.
func (p *Plan) Decode(data []byte, message any) error { return p.decode(data, message, protoName) }

// decode decodes data into message. Name returns the name of a field in errors.
func (p *Plan) decode(data []byte, message any, name func(step) string) error {
	v := reflect.ValueOf(message)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Type().Elem() != p.goType {
		return fmt.Errorf("protobuf: cannot read %T as %v", message, p.goType)
	}
	err := p.consume(data, v.Elem(), maxDepth)
	if err == nil {
		return nil
	}
	return malformed(err, name)
}

// malformed returns the error for the client, with the field and the cause in err.
func malformed(err error, name func(step) string) error {
	violation := chassi.Violation{Message: err.Error()}
	if at, ok := errors.AsType[*fieldError](err); ok {
		violation = chassi.Violation{Field: at.path(name), Message: at.cause.Error()}
	}
	return errMalformed.WithViolations(violation)
}

// fieldError states where and why a message is malformed.
type fieldError struct {
	steps []step // outermost last
	cause error
}

// step is the name of a field in both forms of a message, or an index.
type step struct{ name, json string }

func protoName(s step) string { return s.name }

func jsonName(s step) string { return s.json }

func (f *field) step() step { return step{f.name, f.jsonName} }

func index(i int) step {
	text := "[" + strconv.Itoa(i) + "]"
	return step{text, text}
}

func (e *fieldError) Error() string { return e.path(protoName) + " " + e.cause.Error() }

func (e *fieldError) path(nameOf func(step) string) string {
	var b strings.Builder
	for _, s := range slices.Backward(e.steps) {
		name := nameOf(s)
		if b.Len() > 0 && !strings.HasPrefix(name, "[") {
			b.WriteByte('.')
		}
		b.WriteString(name)
		if b.Len() > maxPath {
			return safetext.Clip(b.String(), maxPath)
		}
	}
	return b.String()
}

const maxPath = 100

func at(s step, err error) error {
	if inner, ok := err.(*fieldError); ok {
		inner.steps = append(inner.steps, s)
		return inner
	}
	return &fieldError{steps: []step{s}, cause: err}
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
		n, err := f.consume(b, wire, f.into(v), depth)
		if n < 0 {
			err = errTruncated
		}
		if err != nil {
			return at(f.step(), err)
		}
		b = b[n:]
	}
	return nil
}

// consumeTag reads a tag like [protowire.ConsumeTag]. It returns a negative length also for
// numbers that no field can have.
func consumeTag(b []byte) (protowire.Number, protowire.Type, int) {
	number, wire, n := protowire.ConsumeTag(b)
	if n > 0 && number > protowire.MaxValidNumber {
		n = -1
	}
	return number, wire, n
}

// takes reports whether a value of the given wire type can belong to the field. A value of
// another type is skipped, like an unknown field.
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
			err = at(index(v.Len()-1), err)
		}
		return n, err
	case mapped:
		return f.consumeEntry(b, v, depth)
	default:
		return f.kind.consume(b, v, depth)
	}
}

// grow appends an element and returns it.
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
			return n, at(index(v.Len()-1), err)
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
