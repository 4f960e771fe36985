package protobuf

import (
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/safetext"
	"google.golang.org/protobuf/encoding/protowire"
)

var errMalformed = chassi.NewError(chassi.InvalidArgument, "malformed_request", "The request is malformed")

// Decode decodes data into message, a pointer to the plan's struct, which must be zero. It skips
// unknown fields. If data is malformed, for example truncated or nested deeper than 100 messages, or
// contains a string that is not UTF-8, Decode returns a [chassi.InvalidArgument] error, which names
// the field if there is one.
func (p *Plan) Decode(data []byte, message any) error { return p.decode(data, message, protoName) }

// decode decodes data into message, a pointer to the plan's struct. The function name returns the
// text of one step of the path to a field, for errors.
func (p *Plan) decode(data []byte, message any, name func(step) string) error {
	v, err := p.target("decode into", message)
	if err != nil {
		return err
	}
	if err = p.consume(data, v, maxDepth); err == nil {
		return nil
	}
	return malformed(err, name)
}

// malformed returns an error for the client with the text of err or, if err is a *fieldError, with
// the path to the field and the text of the cause.
func malformed(err error, name func(step) string) error {
	violation := chassi.Violation{Message: err.Error()}
	if at, ok := errors.AsType[*fieldError](err); ok {
		violation = chassi.Violation{Field: at.path(name), Message: at.cause.Error()}
	}
	return errMalformed.WithViolations(violation)
}

// fieldError states which field of a message is invalid, and why.
type fieldError struct {
	steps []step // path to the field, the outermost step last
	cause error
}

// step is one step of the path to a field: the names of a field in the .proto file and in JSON, or
// an index or a key in brackets.
type step struct{ name, json string }

func protoName(s step) string { return s.name }

func jsonName(s step) string { return s.json }

func (f *field) step() step { return step{f.name, f.jsonName} }

func index(i int) step {
	text := "[" + strconv.Itoa(i) + "]"
	return step{text, text}
}

func (e *fieldError) Error() string { return e.path(protoName) + " " + e.cause.Error() }

func (e *fieldError) Unwrap() error { return e.cause }

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

// consumeTag returns the field number, the wire type and the length of the tag at the start of b.
// The length is negative if the tag is malformed or its number is not a valid field number.
func consumeTag(b []byte) (protowire.Number, protowire.Type, int) {
	number, wire, n := protowire.ConsumeTag(b)
	if n > 0 && number > protowire.MaxValidNumber {
		n = -1
	}
	return number, wire, n
}

// takes reports whether f accepts a value of the given wire type. A value of another wire type is
// skipped in the same way as an unknown field.
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

// grow appends a zero element to list, a settable slice, and returns the element.
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

// consumeEntry adds the entry at the start of b, a message with a key and a value, to the map v,
// and returns the length of the entry, which is negative if the entry is truncated.
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
