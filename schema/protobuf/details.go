package protobuf

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/chassi-go/chassi"
	"google.golang.org/protobuf/reflect/protoreflect"
)

var (
	errDetailName = errors.New("protobuf: the name of the error detail is not the full name of a message")
	errDetailJSON = errors.New("protobuf: the error detail has a JSON form, but no Protocol Buffers encoding")
)

// EncodeDetail returns the name and the encoded message of d. It returns an error if d has only a
// JSON form, is not a struct that can be encoded, or has an invalid name, or if a method of d
// panics.
func EncodeDetail(d chassi.Detail) (name string, body []byte, err error) {
	encoded, err := encodeDetail(d)
	return encoded.Name, encoded.Protobuf, err
}

func encodeDetail(d chassi.Detail) (out ErrorDetail, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("protobuf: encoding the error detail panicked: %w", chassi.ErrorOf(chassi.Recovered(v)))
		}
	}()
	out.Name = d.DetailName()
	if !protoreflect.FullName(out.Name).IsValid() {
		return ErrorDetail{}, fmt.Errorf("%w: %q", errDetailName, out.Name)
	}
	if encoded, ok := d.(*chassi.EncodedDetail); ok {
		if encoded.Protobuf == nil && encoded.JSON != nil {
			return ErrorDetail{}, fmt.Errorf("%w: %s", errDetailJSON, out.Name)
		}
		out.Protobuf = encoded.Protobuf
		return out, nil
	}
	v := reflect.ValueOf(d)
	if v.Kind() != reflect.Pointer {
		v = reflect.New(v.Type())
		v.Elem().Set(reflect.ValueOf(d))
	}
	if out.plan, err = PlanOf(v.Type().Elem()); err == nil {
		out.Protobuf, err = out.plan.Append(nil, v.Interface())
	}
	return out, err
}

// ReceivedDetail returns a detail for a name and an encoded message that were received from another
// process. The detail retains body. ReceivedDetail returns nil and false if name is not a valid
// full name of a message, or is longer than 256 bytes.
func ReceivedDetail(name string, body []byte) (*chassi.EncodedDetail, bool) {
	if len(name) > maxFullName || !protoreflect.FullName(name).IsValid() {
		return nil, false
	}
	return &chassi.EncodedDetail{Name: name, Protobuf: body, Decode: func(into any) error { return decodeDetail(body, into) }}, true
}

const maxFullName = 256

func decodeDetail(body []byte, into any) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer {
		return fmt.Errorf("protobuf: cannot decode an error detail into %T: want a pointer to a struct", into)
	}
	p, err := PlanOf(v.Type().Elem())
	if err != nil {
		return err
	}
	return p.Decode(body, into)
}
