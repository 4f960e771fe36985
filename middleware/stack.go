package middleware

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/chassi-go/chassi"
)

// Layer is a middleware with a name that identifies it in a [Stack].
type Layer struct {
	Name       string
	Middleware chassi.Middleware
}

// Stack is an ordered list of named middleware, the outermost first. The methods that change a
// Stack record errors for [Stack.Err] instead of returning them. A Stack is not safe for concurrent
// use. A slice that [Stack.Middleware] has returned is not affected by later changes.
type Stack struct {
	layers []Layer
	errs   []error
}

// NewStack returns a stack of layers, the outermost first.
func NewStack(layers ...Layer) *Stack {
	s := new(Stack)
	s.insert(0, layers)
	return s
}

// InsertBefore inserts layers directly outside the layer with the given name.
func (s *Stack) InsertBefore(name string, layers ...Layer) {
	if i, ok := s.find(name); ok {
		s.insert(i, layers)
	}
}

// InsertAfter inserts layers directly inside the layer with the given name.
func (s *Stack) InsertAfter(name string, layers ...Layer) {
	if i, ok := s.find(name); ok {
		s.insert(i+1, layers)
	}
}

// Replace replaces the middleware of the layer with the given name by m.
func (s *Stack) Replace(name string, m chassi.Middleware) {
	if i, ok := s.find(name); ok && s.check(Layer{name, m}) {
		s.layers[i].Middleware = m
	}
}

// Remove removes the layers with the given names.
func (s *Stack) Remove(names ...string) {
	for _, name := range names {
		if i, ok := s.find(name); ok {
			s.layers = slices.Delete(s.layers, i, i+1)
		}
	}
}

// Names returns the names of the layers, the outermost first.
func (s *Stack) Names() []string {
	names := make([]string, len(s.layers))
	for i, l := range s.layers {
		names[i] = l.Name
	}
	return names
}

// String returns the names of the layers, one per line, the outermost first.
func (s *Stack) String() string { return strings.Join(s.Names(), "\n") }

// Middleware returns the middleware of the layers, the outermost first.
func (s *Stack) Middleware() []chassi.Middleware {
	list := make([]chassi.Middleware, len(s.layers))
	for i, l := range s.layers {
		list[i] = l.Middleware
	}
	return list
}

// Err returns the joined errors of [NewStack] and of all changes, or nil. It is an error to refer
// to an unknown name, to add a duplicate name or a layer without a name or a middleware, or to
// replace a middleware by nil.
func (s *Stack) Err() error { return errors.Join(s.errs...) }

func (s *Stack) insert(at int, layers []Layer) {
	for _, l := range layers {
		if slices.Contains(s.Names(), l.Name) {
			s.errs = append(s.errs, fmt.Errorf("middleware: the stack already has a layer %q", l.Name))
			continue
		}
		if s.check(l) {
			s.layers = slices.Insert(s.layers, at, l)
			at++
		}
	}
}

func (s *Stack) check(l Layer) bool {
	if l.Name == "" || l.Middleware == nil {
		s.errs = append(s.errs, fmt.Errorf("middleware: the layer %q needs a name and a middleware", l.Name))
		return false
	}
	return true
}

func (s *Stack) find(name string) (int, bool) {
	i := slices.Index(s.Names(), name)
	if i < 0 {
		s.errs = append(s.errs, fmt.Errorf("middleware: the stack has no layer %q; it has %s", name, strings.Join(s.Names(), ", ")))
	}
	return i, i >= 0
}

// Only returns middleware that applies m only to calls over the given transports ("http",
// "grpc", "nats", "amqp", "local", "event", "job").
func Only(m chassi.Middleware, transports ...string) chassi.Middleware {
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		if !slices.Contains(transports, b.Transport) {
			return next
		}
		return m(b, next)
	}
}
