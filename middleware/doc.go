// Package middleware holds what surrounds every call, one concern a file. Each
// works on any transport, on the side that serves and where it makes sense on the
// side that calls, and resolves at registration all that does not depend
// on the call.
//
// The usual order, outermost first, and why:
//
//	tracing         everything below has the span
//	Logging         one line per call, whatever became of it
//	metrics         counts what the client got
//	Exceptions      reports faults of ours, panics included
//	Recover         turns a panic into an error, for all of the above
//	LimitConcurrency  when one client has too many calls under way
//	Shedding        before anything costs, when there is too much to do
//	RateLimitPeer   and when one client asks too much
//	Deadline        bounds what follows
//	Authentication  finds out who calls
//	RateLimitPrincipal
//	Validation      adds a check between decoding and the method
//	(the endpoint's own policy, decoding, the method, encoding)
//
// Idempotency is not of that list: it is given to a service, for the endpoints it is told,
// and so lies inside all of these, whatever the transport.
//
// Tracing and metrics are packages of their own, because of what they link.
//
// Authorization is no middleware: the policy is part of the endpoint, and
// [chassi.Binding.Handler] enforces it behind all of these.
package middleware
