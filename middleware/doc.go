// Package middleware contains the middleware for all transports, one concern per file. Each
// works on servers and, where useful, on clients. At registration it resolves everything that
// does not depend on the call.
//
// The usual order, outermost first:
//
//	tracing         everything below has the span
//	Logging         one line per call, with the result
//	metrics         counts the responses
//	ErrorReporting  reports server errors, including panics
//	Recover         converts a panic to an error, for all of the above
//	LimitConcurrency  limits the calls in flight of each client
//	LoadShedding    refuses calls under overload, before other work
//	RateLimitPeer   limits the call rate of each client
//	Timeout         limits the time of the layers below
//	Authentication  determines the principal
//	RateLimitPrincipal
//	Validation      adds a check between decoding and the method
//	(the endpoint's own policy, decoding, the method, encoding)
//
// Idempotency is not part of that list: it is configured for a service and the named endpoints,
// and therefore is inside all of these, on every transport.
//
// Tracing and metrics are separate packages because of their dependencies.
//
// Authorization is not a middleware: the policy is part of the endpoint, and
// [chassi.Binding.Handler] enforces it inside all of these.
package middleware
