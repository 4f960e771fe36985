package chassi

import "context"

// Component is a part of a program with its own lifecycle: a transport, a worker pool, a
// database, the telemetry pipeline. [App] starts and stops it.
//
// A Component may also implement the following methods:
//
//   - Failed() <-chan error returns a channel that delivers the error when the Component fails
//     after its start; the App then shuts down. The channel may be closed when the Component stops.
//   - Drain() is called when readiness begins to fail, while new work is still accepted. The
//     Component may then ask its clients to reconnect elsewhere.
//   - Check(context.Context) error returns an error while the Component cannot do its work.
//     The running App calls it periodically, and logs the beginning and the end of each outage,
//     unless LogsOutage() bool returns true because the Component logs them itself.
//   - Close() or Close() error is called if the Component was never started. It releases what the
//     Component has held since its creation, such as connections.
type Component interface {
	// Name returns the name in logs, errors and readiness: "http", "database".
	Name() string
	// Start starts the Component and returns nil when it is working. Before it returns an error,
	// it undoes what it did. Ctx applies to the start only. After an [Unavailable] error, which
	// means that a dependency is unavailable or refuses the Component, Start is called again;
	// all other errors are final.
	Start(ctx context.Context) error
	// Stop stops accepting work, completes the accepted work and releases all resources. When
	// ctx ends first, Stop abandons the remaining work and returns an error that names it. Stop
	// is called at most once, and only after a successful Start.
	Stop(ctx context.Context) error
}

// Transport is a [Component] that serves endpoints.
type Transport interface {
	Component
	// Mount adds the endpoints of s. It is called before Start. It returns an error if s has
	// one ([Service.Err]) or cannot be served.
	Mount(s *Service) error
}

// Optional returns s as a component on which readiness does not depend. While s is unavailable or
// its Check fails, the App stays ready, and the status of s is "degraded", not "failing". All other
// errors of s end the program, as those of any component do.
func Optional(s Component) Component { return optional{s} }

type optional struct{ Component }

// ComponentFunc returns a [Component] with the functions start and stop, either of which may be
// nil. If start is nil, the component counts as started from its creation, and stop is called
// even if the App did not reach its start.
func ComponentFunc(name string, start, stop func(context.Context) error) Component {
	return &serverFunc{name: name, start: start, stop: stop}
}

type serverFunc struct {
	name        string
	start, stop func(context.Context) error
}

func (s *serverFunc) Name() string { return s.name }

func (s *serverFunc) Start(ctx context.Context) error { return callIf(ctx, s.start) }

func (s *serverFunc) Stop(ctx context.Context) error { return callIf(ctx, s.stop) }

func callIf(ctx context.Context, f func(context.Context) error) error {
	if f == nil {
		return nil
	}
	return f(ctx)
}
