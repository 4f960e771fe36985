package chassi

import "context"

// Component is a part of a program with its own lifecycle, such as a transport, a worker pool, a
// database or the telemetry pipeline. [App] starts and stops it.
//
// A Component may also implement the following methods:
//
//   - Failed() <-chan error returns a channel that delivers an error, or nil, when the Component
//     ends after its start without having been stopped; the App then shuts down. The channel may
//     be closed when the Component stops.
//   - Drain() is called at the beginning of the drain delay, when readiness fails and new work is
//     still accepted. The Component may then ask its clients to reconnect elsewhere.
//   - Check(context.Context) error returns an error while the Component cannot do its work.
//     The running App calls it periodically, and logs the beginning and the end of each outage,
//     unless LogsOutage() bool returns true because the Component logs them itself.
//   - Close() or Close() error is called instead of Stop if Start was not called or did not
//     succeed. It releases what the Component has held since its creation, such as connections.
type Component interface {
	// Name returns the Component's name in logs, errors and readiness, such as "database".
	Name() string
	// Start starts the Component and returns nil once the Component is working. Before
	// Start returns an error, it undoes what it did. Ctx applies to the start only. After
	// an [Unavailable] error, which means that a dependency is unavailable or refuses the
	// Component, Start is called again; all other errors are final.
	Start(ctx context.Context) error
	// Stop stops accepting work, completes the accepted work and releases all resources. If
	// ctx is done first, Stop abandons the remaining work and returns an error that names it. Stop
	// is called at most once, and only after a successful Start.
	Stop(ctx context.Context) error
}

// Transport is a [Component] that serves endpoints.
type Transport interface {
	Component
	// Mount adds the endpoints of s. It is called before Start. It returns an error if s has
	// configuration errors ([Service.Err]) or the transport cannot serve s.
	Mount(s *Service) error
}

// Optional returns s as a component on which readiness does not depend. While Start of s returns
// an [Unavailable] error or Check of s fails, the App stays ready, and the status of s is
// "degraded", not "failing". Any other error of s stops the App, as that of any component does.
func Optional(s Component) Component { return optional{s} }

type optional struct{ Component }

// ComponentFunc returns a [Component] whose methods Start and Stop call start and stop,
// either of which may be nil. If start is nil, the component counts as started from its
// creation, and stop is called even if the App ends before it starts the component.
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
