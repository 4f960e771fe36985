// Package calltrace lets a package report the operations of a call, such as an SQL
// statement, without importing a tracing library. As in package net/http/httptrace, the
// hook is a value in the context. Tracing middleware sets it for recorded calls only. In
// all other calls an operation costs only a context lookup.
package calltrace

import "context"

// Operation is one step of a call. Its fields have few distinct values and contain nothing that
// a client sent.
type Operation struct {
	System    string // the OpenTelemetry name of the database: "sqlite", "postgresql", "redis"; "" within the process
	Namespace string // the database's name within System; may be empty
	Name      string // the operation, such as "SELECT" or "queue"
	Target    string // the object of the operation: a table, a script, a pool; may be empty
}

// String returns Name and Target, such as "SELECT users", or only Name if Target is empty.
func (o Operation) String() string {
	if o.Target == "" {
		return o.Name
	}
	return o.Name + " " + o.Target
}

// Tracer records the start of operation o. It returns the context for calls within the operation,
// and the function that records the end. A Tracer must be safe for concurrent use.
type Tracer func(ctx context.Context, o Operation) (context.Context, End)

// End records the end of an operation. Both arguments are empty after a success. After a
// failure, code is the error code of the system, such as an SQLSTATE; if there is no
// code, failure names the kind of failure, such as "timeout". Only the first call has an
// effect. An End must be safe for concurrent use.
type End func(code, failure string)

type tracerKey struct{}

// WithTracer returns a copy of ctx with t as the tracer of its operations.
func WithTracer(ctx context.Context, t Tracer) context.Context {
	return context.WithValue(ctx, tracerKey{}, t)
}

// From returns the tracer of ctx, or nil if the call is not recorded.
func From(ctx context.Context) Tracer {
	t, _ := ctx.Value(tracerKey{}).(Tracer)
	return t
}
