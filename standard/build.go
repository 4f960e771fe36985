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

// Transport is an additional server besides HTTP.
type Transport struct {
	// New returns the server, whose calls pass through middleware, the first one outermost.
	New func(middleware []chassi.Middleware) (chassi.Transport, error)
	// Optional makes the program ready, with the state degraded, while the transport is
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

// AddTransport serves all services over an additional transport. Packages such as grpcserver
// call it.
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

// Mount serves the endpoints of services over all transports. Run returns an error if that fails.
func (a *App) Mount(services ...*chassi.Service) {
	a.refuseLate("Mount")
	a.services = append(a.services, services...)
}

// AddTopic adds a topic of events to the AsyncAPI document of the program. Package
// standard/events calls it.
func (a *App) AddTopic(t schema.Topic) {
	i := slices.IndexFunc(a.topics, func(other schema.Topic) bool { return other.Event.Name() == t.Event.Name() })
	if i < 0 {
		a.topics = append(a.topics, t)
		return
	}
	a.topics[i].Send, a.topics[i].Receive = a.topics[i].Send || t.Send, a.topics[i].Receive || t.Receive
}

// Transport returns the server with that name, for example "grpc", and nil before [App.Build]
// and for a disabled transport.
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

// Handle serves handler over HTTP, see [httpapi.Server.Handle]. Run returns an error if that fails.
func (a *App) Handle(pattern string, handler http.Handler, options ...chassi.EndpointOption) {
	a.refuseLate("Handle")
	a.handlers = append(a.handlers, mountedHandler{pattern, handler, options})
}

// UseHTTP wraps the HTTP server in plain middleware, see [httpapi.Server.Use].
func (a *App) UseHTTP(middleware ...func(http.Handler) http.Handler) {
	a.refuseLate("UseHTTP")
	a.wrappers = append(a.wrappers, middleware...)
}

// Fail makes Run return err, unless err is nil. Functions that add a part to an App use it instead
// of returning errors, so that all errors are reported together. In a [Program] it is for settings
// that only the command serve needs: the command schema, which calls Setup too, ignores err.
// Wrapped in a [UsageError], err ends the program with the exit code for an invalid configuration.
func (a *App) Fail(err error) {
	if err != nil {
		a.errs = append(a.errs, err)
	}
}

// refuseLate records an error if the App is built already.
func (a *App) refuseLate(method string) {
	if a.built {
		a.Fail(fmt.Errorf("standard: %s was called after Build", method))
	}
}

// Run builds the App, runs it and returns as [chassi.App.Run] does. It performs all checks
// before it listens.
func (a *App) Run(ctx context.Context) error {
	if err := errors.Join(a.Build(), errors.Join(a.errs[a.reported:]...)); err != nil {
		return errors.Join(err, a.Close())
	}
	return a.App.Run(ctx) //nolint:wrapcheck // says where
}

// Build creates the servers and mounts the services. Run calls it; tests may call it to use
// HTTP without listening. Nothing can be added after it.
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
