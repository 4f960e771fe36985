// Package grpcapi serves endpoints over gRPC with grpc-go's server, and implements the client.
// The messages are the endpoints' plain structs, encoded as Protocol Buffers by package
// schema/protobuf. Other programs use the .proto file that the same package generates, or
// server reflection (v1).
//
// # Requests
//
// The metadata of a request is [chassi.Call].In. A deadline of the client applies. A malformed
// message is InvalidArgument with the name of the field, a message that is too large
// ResourceExhausted, and an unknown method Unimplemented, as is a call with no message or
// several. A method that sets a repeated header or a trailer must call grpc-go's SetHeader and
// SetTrailer with its context.
//
// # Streams
//
// An endpoint made with [chassi.NewStream] is a server-streaming method. The header is sent when
// the stream opens; a call that fails before, or that has nothing to send, has trailers only, with
// the metadata of the response. Items are not compressed. A client that takes no item for
// [transport.StreamConfig].SendTimeout loses its stream; if it does not take the rest either, the
// stream is reset, and its connection stays open.
//
// A stream is not limited by CallTimeout once it is open. At MaxConnectionAge its connection takes
// no further calls, and is closed with its last stream. Heartbeats are HTTP/2 pings. An open stream
// counts for [transport.StreamConfig].MaxPeer, not for MaxStreams and MaxStreamsPerClient. On a
// server with streams a connection may have MaxPeer of them beside MaxStreams calls.
//
// # Errors
//
// The sixteen codes are gRPC's own. Details carry the other fields: google.rpc.ErrorInfo the
// reason if it is not the name of the code, BadRequest the violations, RetryInfo the delay,
// followed by those of [chassi.Error.WithDetails]. An error takes at most 7 KiB of the
// trailers, because many clients accept no more than 8 KiB; the parts that do not fit are
// omitted, details first. The text of any other error than a [chassi.Error] is not sent.
//
// # Health
//
// grpc.health.v1.Health reports readiness, for the server ("") and for each service.
package grpcapi
