package middleware

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/chassi-go/chassi"
)

// Layer is a middleware with a name.
type Layer struct {
	Name       string
	Middleware chassi.Middleware
}

// Stack is an ordered list of named middleware, the first one outermost. Its methods return
// no errors: [Stack.Err] returns those of all changes. It is not safe for concurrent use;
// what [Stack.Middleware] returned does not change.
type Stack struct {
	layers []Layer
	errs   []error
}

// NewStack returns a stack of layers, the first one outermost.
func NewStack(layers ...Layer) *Stack {
	s := new(Stack)
	s.insert(0, layers)
	return s
}

// InsertBefore adds layers outside of the layer of that name.
func (s *Stack) InsertBefore(name string, layers ...Layer) {
	if i, ok := s.find(name); ok {
		s.insert(i, layers)
	}
}

// InsertAfter adds layers inside the layer of that name.
func (s *Stack) InsertAfter(name string, layers ...Layer) {
	if i, ok := s.find(name); ok {
		s.insert(i+1, layers)
	}
}

// Replace replaces the middleware of the named layer by m.
func (s *Stack) Replace(name string, m chassi.Middleware) {
	if i, ok := s.find(name); ok && s.check(Layer{name, m}) {
		s.layers[i].Middleware = m
	}
}

// Remove removes the layers of these names.
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

// String returns the names, one per line, the outermost first.
func (s *Stack) String() string { return strings.Join(s.Names(), "\n") }

// Middleware returns the middleware of the layers, the outermost first.
func (s *Stack) Middleware() []chassi.Middleware {
	list := make([]chassi.Middleware, len(s.layers))
	for i, l := range s.layers {
		list[i] = l.Middleware
	}
	return list
}

// Err returns the errors of all changes: names that the stack does not have or has twice, and
// layers without a middleware.
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

// Only returns middleware that applies m to the calls over these transports ("http", "grpc",
// "nats", "amqp", "local") only.
func Only(m chassi.Middleware, transports ...string) chassi.Middleware {
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		if !slices.Contains(transports, b.Transport) {
			return next
		}
		return m(b, next)
	}
}
