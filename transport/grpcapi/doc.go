// Package grpcapi serves endpoints over gRPC with grpc-go's server, and implements the client.
// The messages are the endpoints' plain structs, encoded as Protocol Buffers by package
// schema/protobuf. Other programs use the .proto file that the same package generates, or
// server reflection (v1).
//
// # Requests
//
// The metadata of a request is [chassi.Call].In. A deadline of the client applies to the call. The
// error is InvalidArgument, with the name of the field, for a malformed message, ResourceExhausted
// for a message that is too large, and Unimplemented for an unknown method and for a call with no
// message or several. A method that sets a repeated header or a trailer must call grpc-go's
// SetHeader or SetTrailer with its context.
//
// # Streams
//
// An endpoint made with [chassi.NewStream] is a server-streaming method. The header is sent when
// the stream opens; a call that fails before that, or that has nothing to send, has trailers only,
// with the metadata of the response. Items are not compressed. A client that takes no item for
// [transport.StreamConfig].SendTimeout loses its stream; if it does not take the items that are
// still queued either, the stream is reset, but its connection stays open.
//
// A stream is not limited by CallTimeout once it is open. At MaxConnectionAge its connection takes
// no further calls, and is closed with its last stream. Heartbeats are HTTP/2 pings. An open stream
// counts for [transport.StreamConfig].MaxPeer, not for MaxStreams and MaxStreamsPerClient. On a
// server with streams, a connection may have MaxPeer streams in addition to MaxStreams calls.
//
// # Errors
//
// The sixteen codes are gRPC's own. The details of the status carry the other fields of an error:
// google.rpc.ErrorInfo the reason, unless it is the name of the code, RetryInfo the retry delay, and
// BadRequest the violations. The details of [chassi.Error.WithDetails] follow. An error takes at
// most 7 KiB of the trailers, because many clients accept no more than 8 KiB; the parts that do not
// fit are omitted, the details of the method first. The text of an error that is not a
// [chassi.Error] is not sent.
//
// # Health
//
// grpc.health.v1.Health reports readiness, for the server ("") and for each service.
package grpcapi
