// Package protobuf encodes plain Go structs as Protocol Buffers, without generated code or a
// message interface. A [Plan] is compiled once per type; [File] returns the descriptor of a
// service for reflection, and [Text] its .proto file for other programs.
//
// # Types
//
//	bool, string, []byte                 bool, string (UTF-8 checked), bytes
//	int, int64; int8, int16, int32       int64; int32
//	uint, uint64; uint8, uint16, uint32  uint64; uint32
//	float32, float64                     float, double
//	an integer type that is an [Enum]    an enum of its own
//	time.Time, time.Duration             google.protobuf.Timestamp, google.protobuf.Duration
//	encoding.TextMarshaler and -Unmarshaler
//	                                     string
//	a struct, or a pointer to one        a message of its own
//	a pointer to any of the others       optional
//	a slice; a map                       repeated (packed where it can be); map
//
// A list of bytes of a named type is repeated, not bytes. The keys of maps are integers,
// strings, or have a text form.
//
// # Field numbers
//
// The number of a field is that of its tag, proto:"7", or else its position among the fields,
// beginning with 1. Its name is that of its json tag in snake_case. Package gotype determines
// the fields: those of JSON, so that the fields of an embedded struct belong to the outer
// struct, and those with json:"-" that are HTTP parameters.
//
// # Names
//
// A message has the name of its type: Order, PageOrder for Page[Order]. If names conflict with
// each other or with a service, a sufficient part of the Go package is prefixed.
package protobuf
