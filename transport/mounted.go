package transport

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/chassi-go/chassi"
)

// ErrNotServed means that [chassi.Transports] limits an endpoint to other transports. The errors of
// [CheckServed] wrap it.
var ErrNotServed = errors.New("chassi.Transports excludes the transport")

// CheckServed returns an error that wraps [ErrNotServed] if [chassi.Transports] limits e to
// transports other than the transport called name. The clients of transports return this error when
// they bind e.
func CheckServed(e *chassi.Endpoint, name string) error {
	if e.ServedOver(name) {
		return nil
	}
	return fmt.Errorf("%s is served over %s, not over %s: %w", e.FullName(), strings.Join(e.Transports(), ", "), name, ErrNotServed)
}

// CheckShape returns an error if the transport cannot serve e: if e is a raw endpoint, such as one
// for an http.Handler, if a message has a [chassi.File] and files is false, if a message has more
// than one file, or if a file is not a field of the message itself. The argument over is the
// display name of the transport, such as "AMQP", and files reports whether it supports files.
func CheckShape(e *chassi.Endpoint, over string, files bool) error {
	request, response := e.Files()
	switch {
	case e.RequestType() == nil:
		return fmt.Errorf("%s: HTTP endpoints are not supported over %s (see chassi.Transports)", e.FullName(), over)
	case !files && (request || response):
		return fmt.Errorf("%s: files are not supported over %s (see chassi.Transports)", e.FullName(), over)
	}
	for _, message := range []reflect.Type{e.RequestType(), e.ResponseType()} {
		if err := checkFile(message); err != nil {
			return fmt.Errorf("%s: %w", e.FullName(), err)
		}
	}
	return nil
}

// Mounted records the services that a transport serves. The zero value is empty.
type Mounted struct{ byName map[string]*chassi.Service }

// Add records s. It returns the result of [chassi.Service.Err] if that is not nil, and an error if
// a service with the same name is already recorded, even if that service is s itself.
func (m *Mounted) Add(s *chassi.Service) error {
	if err := s.Err(); err != nil {
		return err //nolint:wrapcheck // says which service
	}
	switch other := m.byName[s.Name()]; {
	case other == s:
		return fmt.Errorf("the service %s is already mounted", s.Name())
	case other != nil:
		return fmt.Errorf("two services have the name %s (%s and %s); rename one or combine them", s.Name(), first(other), first(s))
	}
	if m.byName == nil {
		m.byName = make(map[string]*chassi.Service)
	}
	m.byName[s.Name()] = s
	return nil
}

// first returns a phrase that identifies s by the full name of its first endpoint.
func first(s *chassi.Service) string {
	if endpoints := s.Endpoints(); len(endpoints) > 0 {
		return "with " + endpoints[0].FullName()
	}
	return "without endpoints"
}
