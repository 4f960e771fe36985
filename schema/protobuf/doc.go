// Package protobuf encodes plain Go structs as Protocol Buffers, without generated code or a
// message interface. A [Plan] is compiled once per type. [File] returns the descriptor of services
// for reflection, and [Text] formats the descriptor as a .proto file for other programs.
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
//	a slice; a map                       repeated (packed if possible); map
//
// A slice of a named byte type is repeated, not bytes. The keys of maps are integers, strings, or
// types with a text form other than [time.Time].
//
// # Field numbers
//
// The number of a field is given by its tag, as in proto:"7", or else is its position among the
// fields, beginning with 1. The name of a field is its JSON name in snake_case, or its Go name in
// snake_case if it has no JSON name. The fields are those that package gotype describes: the
// members in JSON, to which the fields of embedded structs belong, and the fields with json:"-"
// that are HTTP parameters. Fields for cookies and statuses are not part of the message, but their
// positions count.
//
// # Names
//
// A message has the name of its type, such as Order, or PageOrder for Page[Order]. Names that
// conflict with each other or with a service are prefixed with a sufficient part of the Go package.
package protobuf
