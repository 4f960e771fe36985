package standard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/schema"
	"github.com/chassi-go/chassi/transport/httpapi"
)

// Transport describes a server that an App has in addition to its HTTP server.
type Transport struct {
	// New returns the server, whose calls pass through middleware, the first one outermost.
	New func(middleware []chassi.Middleware) (chassi.Transport, error)
	// Optional keeps the program ready, with the state degraded, while the transport is
	// unavailable.
	Optional bool
}

// mountedHandler contains the arguments of Handle, and wrapper is an argument of UseHTTP.
type (
	mountedHandler struct {
		pattern string
		handler http.Handler
		options []chassi.EndpointOption
	}
	wrapper = func(http.Handler) http.Handler
)

// AddTransport makes the App serve all of its services over an additional transport. Packages such
// as grpcserver call it.
func (a *App) AddTransport(t Transport) {
	a.refuseLate("AddTransport")
	a.transports = append(a.transports, t)
}

// AddAuthenticator adds authenticators; [middleware.Authentication] describes how they are
// combined.
func (a *App) AddAuthenticator(authenticators ...middleware.Authenticator) {
	a.refuseLate("AddAuthenticator")
	a.authenticators = append(a.authenticators, authenticators...)
}

// Mount makes the App serve the endpoints of services over all transports. [App.Run] returns an
// error if an endpoint cannot be served.
func (a *App) Mount(services ...*chassi.Service) {
	a.refuseLate("Mount")
	a.services = append(a.services, services...)
}

// AddTopic adds a topic of events to the AsyncAPI document of the program. If the topic was added
// before, the document describes it with the directions of both calls. Package standard/events
// calls AddTopic.
func (a *App) AddTopic(t schema.Topic) {
	i := slices.IndexFunc(a.topics, func(other schema.Topic) bool { return other.Event.Name() == t.Event.Name() })
	if i < 0 {
		a.topics = append(a.topics, t)
		return
	}
	a.topics[i].Send, a.topics[i].Receive = a.topics[i].Send || t.Send, a.topics[i].Receive || t.Receive
}

// Transport returns the additional server with the given name, for example "grpc". It returns nil
// before [App.Build], and if the App has no such server.
func (a *App) Transport(name string) chassi.Transport {
	for _, s := range a.servers {
		if s.Name() == name {
			return s
		}
	}
	return nil
}

// Services returns the mounted services.
func (a *App) Services() []*chassi.Service { return a.services }

// Handle makes the App serve handler over HTTP for requests that match pattern;
// [httpapi.Server.Handle] describes patterns and options. [App.Run] returns an error if the handler
// cannot be served.
func (a *App) Handle(pattern string, handler http.Handler, options ...chassi.EndpointOption) {
	a.refuseLate("Handle")
	a.handlers = append(a.handlers, mountedHandler{pattern, handler, options})
}

// UseHTTP wraps the public HTTP server in plain HTTP middleware, the first one outermost;
// [httpapi.Server.Use] describes the requirements.
func (a *App) UseHTTP(middleware ...func(http.Handler) http.Handler) {
	a.refuseLate("UseHTTP")
	a.wrappers = append(a.wrappers, middleware...)
}

// Fail makes [App.Run] return err, unless err is nil. Functions that add a part to an App can call
// Fail instead of returning errors, so that all errors are reported together. If err is a [UsageError],
// the program ends with the exit code for an invalid configuration.
//
// In a [Program], Fail is intended for settings that only the command serve needs. The command
// schema, which also calls Setup, ignores err.
func (a *App) Fail(err error) {
	if err != nil {
		a.errs = append(a.errs, err)
	}
}

// refuseLate records an error that names the method if the App has already been built.
func (a *App) refuseLate(method string) {
	if a.built {
		a.Fail(fmt.Errorf("standard: %s was called after Build", method))
	}
}

// Run builds the App and runs it until it is stopped; [chassi.App.Run] describes when this happens
// and which errors are returned. All checks are made before the App listens. If the build fails,
// Run closes the App and returns the error.
func (a *App) Run(ctx context.Context) error {
	if err := errors.Join(a.Build(), errors.Join(a.errs[a.reported:]...)); err != nil {
		return errors.Join(err, a.Close())
	}
	return a.App.Run(ctx) //nolint:wrapcheck // says where
}

// Build creates the servers, mounts the services, and returns the errors of all parts. Run calls
// it; tests may call it to use the field HTTP without listening. Nothing can be added after Build.
// Further calls have no effect and return the same error.
func (a *App) Build() error { return a.build() }

func (a *App) assemble() error {
	stack, errs := a.Stack.Middleware(), []error{a.Stack.Err(), a.exposure.check()}
	c := a.config.HTTP
	c.Streams = a.config.Stream
	server, err := httpapi.New(c, stack...)
	if err != nil {
		return errors.Join(append(append(errs, a.errs...), err)...)
	}
	a.HTTP = server
	server.Use(a.wrappers...)
	a.AddServer(server)
	errs = append(errs, a.observeHTTP())
	for _, t := range a.transports {
		errs = append(errs, a.addTransport(t, stack))
	}
	errs = append(errs, a.consume())
	for _, h := range a.handlers {
		errs = append(errs, server.Handle(h.pattern, h.handler, h.options...))
	}
	a.App.Mount(a.services...)
	errs = append(append(errs, a.Err()), a.errs...)
	a.built, a.reported = true, len(a.errs)
	return errors.Join(errs...)
}

func (a *App) addTransport(t Transport, stack []chassi.Middleware) error {
	server, err := t.New(stack)
	if err != nil {
		return err
	}
	a.servers = append(a.servers, server)
	if t.Optional {
		a.AddServer(chassi.Optional(server))
	} else {
		a.AddServer(server)
	}
	return nil
}
