package chassi

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
)

// Service is a named set of endpoints. Transports serve it and schema documents describe it.
type Service struct {
	name      string
	endpoints []*Endpoint
	err       error
}

var (
	serviceName = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]*(\.[a-zA-Z][a-zA-Z0-9_]*)*$`)
	methodName  = regexp.MustCompile(`^[A-Z][a-zA-Z0-9]*$`)
)

// NewService returns a service with the endpoints, which must not belong to another
// service. The name consists of words separated by dots, usually with a version: "auth.v1.Auth".
// [Service.Err] returns the configuration errors.
func NewService(name string, endpoints ...*Endpoint) *Service {
	s := &Service{name: name}
	var errs []error
	if !serviceName.MatchString(name) {
		errs = append(errs, fmt.Errorf("chassi: service name %q: want identifiers separated by dots, such as auth.v1.Auth", name))
	}
	seen := make(map[string]bool)
	for _, e := range endpoints {
		if e == nil {
			errs = append(errs, fmt.Errorf("chassi: %s has a nil endpoint", name))
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
		err = fmt.Errorf("chassi: %s has two endpoints named %s", s.name, e.name)
	case e.service != "":
		err = fmt.Errorf("chassi: endpoint %s already belongs to a service; create another endpoint for %s", e.FullName(), s.name)
	case !methodName.MatchString(e.name):
		err = fmt.Errorf("chassi: %s: endpoint name %q: want an upper-case letter followed by letters and digits, such as SignUp", s.name, e.name)
	}
	if err == nil {
		e.service = s.name
		s.endpoints = append(s.endpoints, e)
	}
	return err
}

// Use adds middleware to all endpoints of s, inside the middleware of every transport, the first
// one outermost, and returns s. It must be called before the service is mounted. A later call, or
// one with a nil middleware, only adds an error to [Service.Err], which makes [App.Run] fail.
func (s *Service) Use(middleware ...Middleware) *Service {
	switch {
	case hasNil(middleware):
		s.err = errors.Join(s.err, fmt.Errorf("chassi: %s uses a nil middleware", s.name))
		return s
	case slices.ContainsFunc(s.endpoints, func(e *Endpoint) bool { return e.bound.Load() }):
		s.err = errors.Join(s.err, fmt.Errorf("chassi: %s: Use was called after the service was mounted; call Use before Mount", s.name))
		return s
	}
	for _, e := range s.endpoints {
		e.middleware = append(e.middleware, middleware...)
	}
	return s
}

// Document adds request headers, with their descriptions, and errors to the schema documents
// of the named endpoint, for middleware that only this endpoint has. It must be called
// before the service is mounted. If the endpoint does not exist, Document does nothing.
func (s *Service) Document(name string, headers map[string]string, errs ...*Error) {
	if e := s.Endpoint(name); e != nil {
		maps.Copy(e.headers, headers)
		e.errors = append(e.errors, errs...)
	}
}

func hasNil(middleware []Middleware) bool {
	return slices.ContainsFunc(middleware, func(m Middleware) bool { return m == nil })
}

// Name returns the dotted name of the service.
func (s *Service) Name() string { return s.name }

// Endpoints returns a new slice of the endpoints, in the order given to [NewService].
func (s *Service) Endpoints() []*Endpoint { return slices.Clone(s.endpoints) }

// Endpoint returns the endpoint with the given name, or nil if there is none.
func (s *Service) Endpoint(name string) *Endpoint {
	for _, e := range s.endpoints {
		if e.name == name {
			return e
		}
	}
	return nil
}

// Err returns all configuration errors of the service and its endpoints, or nil.
// Transports refuse to mount a service with an error.
func (s *Service) Err() error { return s.err }
