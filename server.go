package chassi

import "context"

// Server is anything with a life of its own: a transport, a worker pool, a
// database, the telemetry pipeline. [App] starts and stops it.
//
// A Server may have three methods more. Failed() <-chan error delivers the reason
// when it breaks after it started, and is closed when it stops; the App then
// shuts down. Drain() is called when readiness begins to say no, while work is
// still welcome: the moment to ask clients to go elsewhere. Check(context.Context)
// error says why it cannot do its work now; the App asks while it runs.
type Server interface {
	// Name is used in logs, errors and readiness: "http", "database".
	Name() string
	// Start returns when the server does its work, or with the reason why it
	// cannot, having undone what it did. Ctx bounds the start alone, not the life.
	// After an error with the code [Unavailable], which says that something it
	// depends on is away or refuses it, Start is called again; others are final.
	Start(ctx context.Context) error
	// Stop takes no new work, finishes what was accepted, and frees everything.
	// When ctx ends first it gives up the rest and returns an error that names it.
	// Stop is called at most once, and only after a successful Start.
	Stop(ctx context.Context) error
}

// Transport is a [Server] that serves endpoints.
type Transport interface {
	Server
	// Mount adds the endpoints of s. It is called before Start; it returns an
	// error if s has one ([Service.Err]) or cannot be served.
	Mount(s *Service) error
}

// Optional marks a server that the program can do without for a time: while it
// cannot be started or its Check fails, the App is ready and its health says
// "degraded", not "failing". Its other errors end the program as those of any server.
func Optional(s Server) Server { return optional{s} }

type optional struct{ Server }

// ServerFunc makes a [Server] of two functions; nil ones do nothing.
func ServerFunc(name string, start, stop func(context.Context) error) Server {
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
