package chassi

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Service is a named list of endpoints: what every transport serves and every
// schema document describes.
type Service struct {
	name      string
	endpoints []*Endpoint
	err       error
}

var (
	serviceName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]*(\.[a-zA-Z][a-zA-Z0-9_]*)*$`)
	methodName  = regexp.MustCompile(`^[A-Z][a-zA-Z0-9]*$`)
)

// NewService makes a service of endpoints that belong to no other one. The name
// is dotted, with a version: "auth.v1.Auth". See [Service.Err] for what can be
// wrong with it.
func NewService(name string, endpoints ...*Endpoint) *Service {
	s := &Service{name: name}
	var errs []error
	if !serviceName.MatchString(name) {
		errs = append(errs, fmt.Errorf("chassi: service name %q: want dotted words such as auth.v1.Auth", name))
	}
	seen := make(map[string]bool)
	for _, e := range endpoints {
		if e == nil {
			errs = append(errs, fmt.Errorf("chassi: %s has an endpoint that is nil", name))
			continue
		}
		errs = append(errs, e.err, s.adopt(e, seen[e.name]))
		seen[e.name] = true
	}
	s.err = errors.Join(errs...)
	return s
}

func (s *Service) adopt(e *Endpoint, taken bool) error {
	var err error
	switch {
	case taken:
		err = fmt.Errorf("chassi: %s has two endpoints %s", s.name, e.name)
	case e.service != "":
		err = fmt.Errorf("chassi: endpoint %s belongs to a service already; %s needs its own", e.FullName(), s.name)
	case e.raw:
		err = fmt.Errorf("chassi: %s: endpoint %s is raw; give its handler to the transport", s.name, e.name)
	case !methodName.MatchString(e.name):
		err = fmt.Errorf("chassi: %s: endpoint name %q: want a Go method's name", s.name, e.name)
	}
	if err == nil {
		e.service = s.name
		s.endpoints = append(s.endpoints, e)
	}
	return err
}

// Use wraps the service's endpoints in middleware of their own, inside that of
// every transport; the first one is outermost. Call it before mounting. It
// returns s.
func (s *Service) Use(middleware ...Middleware) *Service {
	if hasNil(middleware) {
		s.err = errors.Join(s.err, fmt.Errorf("chassi: %s uses a middleware that is nil", s.name))
		return s
	}
	for _, e := range s.endpoints {
		e.middleware = append(e.middleware, middleware...)
	}
	return s
}

func hasNil(middleware []Middleware) bool {
	return slices.ContainsFunc(middleware, func(m Middleware) bool { return m == nil })
}

// Name returns the dotted name.
func (s *Service) Name() string { return s.name }

// Endpoints returns the endpoints in the order they were given. The slice must
// not be changed.
func (s *Service) Endpoints() []*Endpoint { return s.endpoints }

// Endpoint returns the endpoint of that name, nil for none.
func (s *Service) Endpoint(name string) *Endpoint {
	for _, e := range s.endpoints {
		if e.name == name {
			return e
		}
	}
	return nil
}

// Err returns all that is wrong with the service and its endpoints. Transports
// refuse to mount a service that has one.
func (s *Service) Err() error { return s.err }

// Local returns a typed function that calls e in process, through middleware
// and the endpoint's own, the first one outermost. Nothing is encoded: the
// method gets a shallow copy of the request. The caller's principal, request id
// and peer go along. It returns an error if Req and Res are not the endpoint's
// types, if something is wrong with the endpoint, or if a middleware is nil. The
// function is safe for concurrent use; it returns either a response or an error.
func Local[Req, Res any](e *Endpoint, middleware ...Middleware) (func(context.Context, *Req) (*Res, error), error) {
	if e == nil {
		return nil, errors.New("chassi: local call of no endpoint")
	}
	var codec localCodec[Req, Res]
	if err := errors.Join(e.err, codec.fits(e)); err != nil {
		return nil, err
	}
	if hasNil(middleware) {
		return nil, fmt.Errorf("chassi: local call of %s through a middleware that is nil", e.FullName())
	}
	b := &Binding{Endpoint: e, Transport: "local", Route: e.FullName(), Status: codeStatus}
	handler := b.Handler(middleware...)
	return func(ctx context.Context, request *Req) (*Res, error) {
		codec := &localCodec[Req, Res]{request: request}
		call := &Call{Binding: b, In: localMetadata{}, Out: localMetadata{}, Codec: codec}
		if outer := CallFrom(ctx); outer != nil {
			call.Peer, call.RequestID, call.Principal = outer.Peer, outer.RequestID, outer.Principal
		}
		if err := handler(call.Context(ctx), call); err != nil {
			return nil, err
		}
		if codec.response == nil {
			return nil, errNotEncoded
		}
		return codec.response, nil
	}, nil
}

var errNotEncoded = errors.New("a middleware ended the call with neither a response nor an error")

func codeStatus(_ *Call, err error) int {
	if err == nil {
		return 0
	}
	return int(ErrorOf(err).Code)
}

// localCodec hands typed messages over without encoding them.
type localCodec[Req, Res any] struct {
	request  *Req
	response *Res
}

func (c *localCodec[Req, Res]) Decode(request any) error {
	r, ok := request.(*Req)
	if !ok || c.request == nil {
		return NewError(InvalidArgument, "invalid_request", "The request is missing")
	}
	*r = *c.request
	return nil
}

func (c *localCodec[Req, Res]) Encode(response any) error {
	c.response, _ = response.(*Res)
	return nil
}

func (c *localCodec[Req, Res]) fits(e *Endpoint) error {
	if e.request != reflect.TypeFor[Req]() || e.response != reflect.TypeFor[Res]() {
		return fmt.Errorf("chassi: local call of %s with %v and %v: it takes %v and returns %v",
			e.FullName(), reflect.TypeFor[Req](), reflect.TypeFor[Res](), e.request, e.response)
	}
	return nil
}

type localMetadata map[string]string

func (m localMetadata) Get(key string) string { return m[strings.ToLower(key)] }
func (m localMetadata) Set(key, value string) { m[strings.ToLower(key)] = value }
