package chassi

import (
	"errors"
	"reflect"
)

// Detail is structured data of an [Error] for the client's program. It is a plain struct, like
// the messages of an endpoint, with a name.
//
//	type OutOfStock struct {
//		Left int `json:"left"`
//	}
//
//	func (OutOfStock) DetailName() string { return "shop.v1.OutOfStock" }
//
// A method returns it with [Error.WithDetails], and the client gets it with [DetailOf],
// whichever transport carried the call. [EncodedDetail] is for messages of generated code.
type Detail interface {
	// DetailName returns the full name of the Protocol Buffers message,
	// "shop.v1.OutOfStock". It is the same for every value, the zero value included.
	DetailName() string
}

// EncodedDetail is a detail that a method has encoded itself, or that a client has received. gRPC
// carries Protobuf; the other transports carry JSON, or Protobuf if JSON is empty.
type EncodedDetail struct {
	Name     string
	Protobuf []byte // encoded message
	JSON     []byte // JSON object
	// Decode decodes the detail into a pointer to a struct. A client sets it; it is nil if the
	// encoding is not supported.
	Decode func(into any) error
}

// DetailName returns Name.
func (d *EncodedDetail) DetailName() string { return d.Name }

// WithDetails returns a copy with these details instead of the present ones. Nil details are
// omitted. Details are sent to the client and must contain no confidential data. At most 16 are
// sent, and over gRPC only as many as fit into 7 KiB of trailers with the rest of the error.
//
// The [Errors] of an endpoint should include a detail of each type that the method returns, as
// a zero value or an example: an idempotent replay of a response takes the types from that list.
// Otherwise a replayed error has only the JSON form, which gRPC does not carry.
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

// DetailOf returns the first detail of type D of the [Error] that clients see for err. D is a
// struct with a DetailName method or a pointer to one; *[EncodedDetail] selects a detail that
// has not been decoded. DetailOf returns false if there is no such detail or it is malformed.
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

// detailAs returns a copy of d as a t, or the zero Value if d has another type or is malformed.
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
