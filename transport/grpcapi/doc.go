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
// ResourceExhausted, and an unknown method Unimplemented.
//
// # Errors
//
// The sixteen codes are gRPC's own. Details carry the rest: google.rpc.ErrorInfo
// the reason, BadRequest the violations, RetryInfo the delay. What an error that
// is no [chassi.Error] says stays in the process.
//
// # Health
//
// grpc.health.v1.Health tells what readiness tells, for the server ("") and for
// each service.
package grpcapi
