package grpcapi

// ErrorOf is for tests that send payloads of their own.
var ErrorOf = errorOf
