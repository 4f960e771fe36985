// Package protobuf puts plain Go structs on the wire as Protocol Buffers, and
// describes them: no generated code, no message interface to implement. A [Plan]
// is made once per type; [File] makes the descriptor of a service, for
// reflection, and [Text] its .proto file, for everybody else.
//
// # Types
//
//	bool, string, []byte                 bool, string (UTF-8 checked), bytes
//	int, int64; int8, int16, int32       int64; int32
//	uint, uint64; uint8, uint16, uint32  uint64; uint32
//	float32, float64                     float, double
//	an integer type that is an [Enum]    an enum of its own
//	time.Time, time.Duration             google.protobuf.Timestamp, google.protobuf.Duration
//	encoding.TextMarshaler               string
//	a struct, or a pointer to one        a message of its own
//	a pointer to any of the others       optional
//	a slice; a map                       repeated (packed where it can be); map
//
// # Field numbers
//
// A field has the number of its tag, proto:"7", and without one its place among
// the fields, beginning with 1. Its name is that of its json tag in snake_case. A
// field with json:"-" that comes from no path, query or header is left out. The
// fields of an embedded struct count as those of the struct around it.
package protobuf
