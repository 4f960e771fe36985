// Package calltrace lets a package report what it does for a call, such as a statement of
// SQL, without importing a tracing library. As in net/http/httptrace the hook is in the
// context: the middleware that traces calls sets it for calls that are recorded, and for
// no others, so that all others cost one look into the context.
package calltrace

import "context"

// Operation is one step of a call. Its fields take few values, and none that a caller sent.
type Operation struct {
	System    string // the database, as OpenTelemetry names it: "sqlite", "postgresql", "redis"; "" within the process
	Namespace string // the database's name within System; may be empty
	Name      string // what is done, such as "SELECT" or "queue"
	Target    string // what it is done to: a table, a script, a pool; may be empty
}

// String returns name and target, such as "SELECT users".
func (o Operation) String() string {
	if o.Target == "" {
		return o.Name
	}
	return o.Name + " " + o.Target
}

// Tracer records the start of an operation. The context it returns is for what is done
// within the operation. It is safe for concurrent use.
type Tracer func(ctx context.Context, o Operation) (context.Context, End)

// End records the end of an operation. Both arguments are empty after a success. Otherwise
// code is what the system answered, such as an SQLSTATE, or, without an answer, failure
// says in a word what went wrong, such as "timeout". Only the first call counts. It is safe
// for concurrent use.
type End func(code, failure string)

type tracerKey struct{}

// WithTracer returns a context whose operations are recorded by t.
func WithTracer(ctx context.Context, t Tracer) context.Context {
	return context.WithValue(ctx, tracerKey{}, t)
}

// From returns the tracer of ctx, or nil when nothing is recorded.
func From(ctx context.Context) Tracer {
	t, _ := ctx.Value(tracerKey{}).(Tracer)
	return t
}
