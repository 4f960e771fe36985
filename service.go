package chassi

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
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
