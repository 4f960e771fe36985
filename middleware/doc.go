// Package middleware contains the middleware for all transports, one concern per file.
// A middleware is for servers, for clients, or for both. Whatever does not depend
// on the call is resolved at registration.
//
// The usual order on a server, outermost first:
//
//	tracing             creates the span of the call
//	Logging             logs one line per call, with the result
//	metrics             counts and times the calls
//	ErrorReporting      reports server errors, including panics
//	Recover             converts a panic to an error, for all of the above
//	LimitConcurrency    limits the calls in flight of each client
//	LoadShedding        refuses calls under overload, before other work
//	RateLimitPeer       limits the call rate of each client
//	Timeout             limits the time of the layers below
//	Authentication      determines the principal
//	RateLimitPrincipal  limits the call rate of each principal
//	Validation          adds a check between decoding and the method
//	(the endpoint's own policy, decoding, the method, encoding)
//
// [Idempotency] is not part of this list. It is configured for the named endpoints of a service
// and therefore runs inside all of these layers, but outside the endpoint's own policy, on every
// transport.
//
// Tracing and metrics are separate packages because of their dependencies.
//
// Authorization is not a middleware: the policy is part of the endpoint, and
// [chassi.Binding.Handler] enforces it inside all of these layers.
package middleware
