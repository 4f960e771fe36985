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
// A method adds it to an error with [Error.WithDetails], and the client gets it with [DetailOf],
// whichever transport carried the call. A message of generated code needs an [EncodedDetail].
type Detail interface {
	// DetailName returns the full name of the Protocol Buffers message, such as
	// "shop.v1.OutOfStock". All values of the type, including the zero value, return the same name.
	DetailName() string
}

// EncodedDetail is a detail that a method has encoded itself, or that a client has received. gRPC and
// Connect carry the field Protobuf; other transports carry JSON, or Protobuf if JSON is empty.
type EncodedDetail struct {
	Name     string
	Protobuf []byte // encoded message
	JSON     []byte // JSON object
	// Decode decodes the detail into the struct that into points to. It is set on a client,
	// and is nil if the encoding is not supported.
	Decode func(into any) error
}

// DetailName returns Name.
func (d *EncodedDetail) DetailName() string { return d.Name }

// WithDetails returns a copy of e with the given details in place of the present ones, without nil
// details. The details are sent to the client and must not be confidential. At most 16 are sent: up
// to 16 KiB of JSON, 48 KiB over Connect, and over gRPC 7 KiB of trailers with the rest of the error.
//
// The [Errors] of an endpoint should include a detail of each type that the method returns,
// as a zero value or an example: the replay of an idempotent call takes the types from that
// list. Otherwise a replayed error has only the JSON form, which gRPC and Connect do not carry.
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

// DetailOf returns the first detail of type D in the first [*Error] in the tree of err. D is a
// struct with a DetailName method or a pointer to such a struct; *[EncodedDetail] selects a detail
// that has not been decoded. ok is false if there is no such detail or it is malformed.
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

// detailAs returns d, copied or decoded, as a value of type t, or the zero Value if that fails.
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
