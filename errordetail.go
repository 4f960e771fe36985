package chassi

import (
	"errors"
	"reflect"
)

// Detail is a part of an [Error] for the caller's program: a plain struct, as the
// messages of an endpoint are, that names itself.
//
//	type OutOfStock struct {
//		Left int `json:"left"`
//	}
//
//	func (OutOfStock) DetailName() string { return "shop.v1.OutOfStock" }
//
// A method returns it with [Error.WithDetails], and the caller gets it back with
// [DetailOf], whatever transport carried the call. [EncodedDetail] is for messages of
// generated code.
type Detail interface {
	// DetailName returns the full name of the Protocol Buffers message,
	// "shop.v1.OutOfStock". It is the same for every value, the zero value included.
	DetailName() string
}

// EncodedDetail is a detail in its encoded form: one that a method has encoded itself,
// or one that a client received. gRPC carries Protobuf; the other transports carry
// JSON, or Protobuf if there is no JSON.
type EncodedDetail struct {
	Name     string
	Protobuf []byte // the encoded message
	JSON     []byte // an object
	// Decode reads the detail into a pointer to a struct. A client sets it; nil means
	// that nothing here can read the form.
	Decode func(into any) error
}

// DetailName returns Name.
func (d *EncodedDetail) DetailName() string { return d.Name }

// WithDetails returns a copy with these details, and no others. Nil ones are left out.
// They are sent to the caller, so they must hold nothing that it may not see. At most 16
// are, and over gRPC those that fit into 7 KiB of trailers with the rest of the error.
//
// The [Errors] of an endpoint should have a detail of each type that the method
// returns, zero or an example: an answer that is replayed for an idempotency key gets
// its types from there. Without, a replay has the JSON form alone, which gRPC does not
// carry.
func (e *Error) WithDetails(details ...Detail) *Error {
	c := *e
	c.Details = nil
	for _, d := range details {
		if v := reflect.ValueOf(d); v.IsValid() && (v.Kind() != reflect.Pointer || !v.IsNil()) {
			c.Details = append(c.Details, d)
		}
	}
	return &c
}

// DetailOf returns the first detail of type D of the [Error] that callers see for
// err. D is a struct with a DetailName or a pointer to one; *[EncodedDetail] is for a
// detail that has not been decoded. It returns false if there is none, or only a
// malformed one.
func DetailOf[D Detail](err error) (detail D, ok bool) {
	var e *Error
	if !errors.As(err, &e) || e == nil {
		return detail, false
	}
	for _, d := range e.Details {
		if v := detailAs(d, reflect.TypeFor[D]()); v.IsValid() {
			return v.Interface().(D), true
		}
	}
	return detail, false
}

// detailAs returns a copy of d as a t, the zero Value if it is something else.
func detailAs(d Detail, t reflect.Type) (v reflect.Value) {
	s := t
	if t.Kind() == reflect.Pointer {
		s = t.Elem()
	}
	if s.Kind() != reflect.Struct {
		return v
	}
	p := reflect.New(s)
	if given := reflect.Indirect(reflect.ValueOf(d)); given.IsValid() && given.Type() == s {
		p.Elem().Set(given)
	} else if !decodeDetail(d, p.Interface()) {
		return v
	}
	if s != t {
		return p
	}
	return p.Elem()
}

func decodeDetail(d Detail, into any) bool {
	encoded, ok := d.(*EncodedDetail)
	wanted, named := into.(Detail)
	return ok && named && encoded != nil && encoded.Decode != nil && wanted.DetailName() == encoded.Name && encoded.Decode(into) == nil
}
