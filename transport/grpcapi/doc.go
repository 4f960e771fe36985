// Package grpcapi serves endpoints over gRPC, on grpc-go's own server, and calls
// them there. The messages are the endpoints' plain structs, written as Protocol
// Buffers by package schema/protobuf: strangers use the .proto file that the same
// package prints, or ask the server itself, which answers reflection (v1).
//
// # Requests
//
// The method of service "auth.v1.Auth" and endpoint "Me" is /auth.v1.Auth/Me.
// Metadata are the call's pairs. A caller's deadline holds; a message that is
// malformed is InvalidArgument with the field named, one too large
// ResourceExhausted, and an unknown method Unimplemented, as is a call with no message
// or several. A method that must set a repeated header or a trailer uses grpc-go's
// SetHeader and SetTrailer with its context.
//
// # Errors
//
// The sixteen codes are gRPC's own. Details carry the rest: google.rpc.ErrorInfo
// the reason if it is not the name of the code, BadRequest the violations, RetryInfo the
// delay, and then those of [chassi.Error.WithDetails]. An error takes at most 7 KiB of
// the trailers, because many clients accept no more than 8 KiB; what does not fit is
// left out, details first. What an error that is no [chassi.Error] says stays in the
// process.
//
// # Health
//
// grpc.health.v1.Health tells what readiness tells, for the server ("") and for
// each service.
package grpcapi
