package protobuf

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/chassi-go/chassi"
	"google.golang.org/protobuf/reflect/protoreflect"
)

var (
	errDetailName = errors.New("protobuf: the name of a detail is not the full name of a message")
	errDetailJSON = errors.New("protobuf: a detail has a JSON form alone")
)

// EncodeDetail returns the name and the encoded message of a detail. It fails for one
// that has a JSON form alone, that is no struct, whose name is no full name, or whose
// methods panic.
func EncodeDetail(d chassi.Detail) (name string, body []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("protobuf: a detail: %w", chassi.ErrorOf(chassi.Recovered(v)))
		}
	}()
	name = d.DetailName()
	if !protoreflect.FullName(name).IsValid() {
		return "", nil, errDetailName
	}
	if encoded, ok := d.(*chassi.EncodedDetail); ok {
		if encoded.Protobuf == nil && encoded.JSON != nil {
			return "", nil, errDetailJSON
		}
		return name, encoded.Protobuf, nil
	}
	v := reflect.ValueOf(d)
	if v.Kind() != reflect.Pointer {
		v = reflect.New(v.Type())
		v.Elem().Set(reflect.ValueOf(d))
	}
	p, err := PlanOf(v.Type().Elem())
	if err == nil {
		body, err = p.Append(nil, v.Interface())
	}
	return name, body, err
}

// ReceivedDetail returns a detail that another process has sent. It keeps body. It
// returns false if name cannot be the full name of a message.
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
		return fmt.Errorf("protobuf: cannot read a detail into a %T", into)
	}
	p, err := PlanOf(v.Type().Elem())
	if err != nil {
		return err
	}
	return p.Decode(body, into)
}
