package schema

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/gotype"
)

// direction is the direction of a message. A type that is used in both directions has two
// schemas: in a request required members must be present and unknown ones are invalid; a
// response has all its members, and later versions may add more.
type direction bool

const (
	sent     direction = true
	answered direction = false
)

// variant is one schema of a type.
type variant struct {
	gotype.Named

	direction direction
	body      bool // without the fields that HTTP carries outside of the body
}

// components collects the schemas that are referenced. Documents are rendered twice: first to
// collect the schemas, then with their names.
type components struct {
	streams bool               // whether an endpoint is a stream
	names   map[variant]string // nil in the first rendering
	schemas object
	seen    map[variant]bool
	ids     map[*chassi.Endpoint]string
	errs    []error
}

// newComponents calls render twice and returns the components of the second call, in which all
// schemas that render refers to have names. None of the names is in reserved.
func newComponents(services []*chassi.Service, reserved []string, render func(*components)) (*components, error) {
	ids, err := operationIDs(services)
	if err != nil {
		return nil, err
	}
	c := &components{schemas: make(object), seen: make(map[variant]bool), ids: ids}
	render(c)
	if err := errors.Join(c.errs...); err != nil {
		return nil, err
	}
	names, err := nameVariants(c.seen, roots(services), reserved)
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	c.names, c.schemas, c.seen = names, make(object), make(map[variant]bool)
	render(c)
	return c, nil
}

// nameVariants names schemas after their types. If a type has several schemas, a suffix tells
// them apart: Input for requests if the type is also in responses, Body for a schema without the
// fields that HTTP carries outside of the body if there is one with them, and InputBody for such a
// schema of requests if responses have both.
func nameVariants(seen map[variant]bool, roots []gotype.Root, reserved []string) (map[variant]string, error) {
	suffixed := make(map[variant]gotype.Named, len(seen))
	var all []gotype.Named
	for v := range seen {
		named := v.Named
		whole, body := seen[variant{v.Named, answered, false}], seen[variant{v.Named, answered, true}]
		isInput := v.direction == sent && (whole || body)
		switch isBody := v.body && seen[variant{v.Named, v.direction, false}]; {
		case isBody && isInput && whole && body:
			named.Suffix = "InputBody"
		case isBody:
			named.Suffix = "Body"
		case isInput:
			named.Suffix = "Input"
		}
		suffixed[v] = named
		all = append(all, named)
	}
	given, err := gotype.Names(all, roots, reserved...)
	names := make(map[variant]string, len(seen))
	for v, named := range suffixed {
		names[v] = given[named]
	}
	return names, err
}

// roots returns the types of the requests and responses of all endpoints that are not an
// http.Handler.
func roots(services []*chassi.Service) (all []gotype.Root) {
	for _, s := range services {
		for _, e := range s.Endpoints() {
			if e.RequestType() == nil { // an http.Handler
				continue
			}
			all = append(all, gotype.Root{Endpoint: e.FullName(), Type: e.RequestType()}, gotype.Root{Endpoint: e.FullName(), Type: e.ResponseType()})
		}
	}
	return all
}

// message returns a reference to the schema of t, the type of the request or the response of e.
// A type without a name is named after the endpoint, followed by suffix.
func (c *components) message(e *chassi.Endpoint, t reflect.Type, suffix string, d direction, body bool) object {
	described, err := gotype.Of(t)
	if err != nil {
		c.errs = append(c.errs, fmt.Errorf("schema: %s: %v: %w", e.FullName(), t, err))
		return object{}
	}
	v := variant{Named: gotype.Named{Type: t}, direction: d, body: body && hasParams(described, d)}
	if t.Name() == "" {
		v.Fallback, v.Scope = e.Name()+suffix, serviceOf(e)
	}
	return c.refer(v, func() object { return c.structSchema(described, v) })
}

func hasParams(t *gotype.Type, d direction) bool {
	return slices.ContainsFunc(t.Fields, func(f gotype.Field) bool { return inHTTP(&f, d) })
}

// refer returns a reference to the schema of v. It calls render only for the first reference.
func (c *components) refer(v variant, render func() object) object {
	name := c.names[v]
	if !c.seen[v] {
		c.seen[v] = true
		s := render()
		c.schemas[name] = s
	}
	return object{"$ref": "#/components/schemas/" + name}
}

// loopsBack reports whether a type that is not a struct contains itself, so that its schema
// must be referenced: type Tree []Tree.
func loopsBack(t *gotype.Type) bool {
	return t.Go.Name() != "" && reaches(t, t.Go, make(map[reflect.Type]bool))
}

// reaches reports whether target is reachable from t without passing a struct.
func reaches(t *gotype.Type, target reflect.Type, seen map[reflect.Type]bool) bool {
	var inner []*gotype.Type
	if t.Elem != nil {
		inner = append(inner, t.Elem)
	}
	if t.Kind == gotype.Struct && t.Go.Name() == "" {
		for i := range t.Fields {
			inner = append(inner, t.Fields[i].Type)
		}
		if t.Rest != nil {
			inner = append(inner, t.Rest)
		}
	}
	for _, in := range inner {
		if in.Go == target {
			return true
		}
		if !seen[in.Go] {
			seen[in.Go] = true
			if reaches(in, target, seen) {
				return true
			}
		}
	}
	return false
}

// failed returns the errors of all services.
func failed(services []*chassi.Service) error {
	var errs []error
	for _, s := range services {
		errs = append(errs, s.Err())
	}
	return errors.Join(errs...)
}

// operationIDs returns the operation ID of each endpoint: a short one such as Orders_GetOrder,
// or one with the package such as orders_v1_Orders_GetOrder if several endpoints would have the
// same short one.
func operationIDs(services []*chassi.Service) (map[*chassi.Endpoint]string, error) {
	groups := make(map[string][]*chassi.Endpoint)
	for _, s := range services {
		for _, e := range s.Endpoints() {
			short := shortID(e)
			groups[short] = append(groups[short], e)
		}
	}
	ids, taken := make(map[*chassi.Endpoint]string), make(map[string]*chassi.Endpoint)
	for _, short := range slices.Sorted(maps.Keys(groups)) {
		for _, e := range groups[short] {
			id := short
			if len(groups[short]) > 1 {
				id = longID(e)
			}
			if other := taken[id]; other != nil {
				return nil, fmt.Errorf("schema: endpoints %s and %s have the same name %s; rename a service", other.FullName(), e.FullName(), id)
			}
			ids[e], taken[id] = id, e
		}
	}
	return ids, nil
}
