// Package grpcapi serves endpoints over gRPC with the server of grpc-go, and provides a client for
// such endpoints. The messages are the plain structs of the endpoints, encoded as Protocol Buffers
// by package schema/protobuf. Other programs can use the .proto file that the same package
// generates, or server reflection (v1 and v1alpha).
//
// # Requests
//
// The metadata of a request is [chassi.Call].In. A deadline of the client applies to the call. A
// malformed message is refused with InvalidArgument and the name of the field, and a message that
// is too large with ResourceExhausted. The error for an unknown method, and for a call without
// exactly one message, is Unimplemented. A method that sets a repeated header or a trailer must
// call the function SetHeader or SetTrailer of grpc-go with its context.
//
// # Streams
//
// An endpoint made with [chassi.NewStream] is a server-streaming method. The header is sent when
// the stream opens. The response to a call that fails before that, or that has nothing to send,
// consists of trailers only, which contain the metadata of the response. Items are not compressed.
// If a client reads no item for [transport.StreamConfig].SendTimeout, the server ends the stream.
// If the client does not read the queued items either, the server resets the stream, but leaves the
// connection open.
//
// CallTimeout does not apply to a stream once it is open. At MaxConnectionAge, the connection of a
// stream accepts no further calls, and it is closed after its last stream. Heartbeats are HTTP/2
// pings. An open stream counts toward [transport.StreamConfig].MaxPeer, and not toward MaxStreams
// or MaxStreamsPerClient. On a server with streams, a connection may have MaxPeer streams in
// addition to MaxStreams calls.
//
// # Errors
//
// The sixteen error codes are those of gRPC. The details of the status contain the other fields of
// an error: google.rpc.ErrorInfo contains the reason, unless the reason is the name of the code;
// RetryInfo contains the retry delay, and BadRequest contains the violations. The details of
// [chassi.Error.WithDetails] follow.
// An error occupies at most 7 KiB of the trailers, because many clients accept no more than 8 KiB.
// Parts that do not fit are omitted, beginning with the details of the method. The text of an error
// that is not a [chassi.Error] is not sent.
//
// # Health
//
// The service grpc.health.v1.Health reports the readiness of the server, under the name "" and
// under the name of each service.
package grpcapi
