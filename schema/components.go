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

// direction states whether a message is a request or a response. A type that is used in both
// directions has separate schemas for them. In a request, required members must be present and
// unknown members are invalid. A response has all of its members except those that
// [gotype.Field.Omits] permits to be absent, and later versions may add further members.
type direction bool

const (
	sent     direction = true
	answered direction = false
)

// variant identifies one of the schemas of a type.
type variant struct {
	gotype.Named

	direction direction
	body      bool // whether the schema omits the fields that HTTP carries outside of the body
}

// components collects the schemas that a document refers to. A document is rendered twice: first to
// find its schemas, and then with the names of the schemas.
type components struct {
	streams bool               // whether an endpoint is a stream
	names   map[variant]string // nil in the first rendering
	schemas object
	seen    map[variant]bool
	ids     map[*chassi.Endpoint]string
	errs    []error
}

// newComponents calls render twice and returns the components of the second call, in which every
// schema that render refers to has a name that is not in reserved. It returns an error if render
// adds errors to the components, or if names conflict.
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

// nameVariants returns the names of the schemas in seen, which are derived from the names of their
// types. If a type has several schemas, a suffix distinguishes them:
//   - Body, if the schema omits the fields that HTTP carries outside of the body and another schema
//     of the same direction includes them
//   - InputBody, if the suffix would be Body, the schema is that of a request, and responses have
//     both kinds of schemas
//   - Input for any other schema of a request, if the type is also used in responses
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

// roots returns the request and response types of all endpoints, except those that are an
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

// message returns a reference to the schema of t, the request or response type of e. An unnamed
// type gets the name of e followed by suffix. If body is true, the schema omits the fields that
// HTTP carries outside of the body. If t is invalid, an error is added to c.errs.
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

// refer returns a reference to the schema of v. For the first reference, it calls render to create
// the schema.
func (c *components) refer(v variant, render func() object) object {
	name := c.names[v]
	if !c.seen[v] {
		c.seen[v] = true
		s := render()
		c.schemas[name] = s
	}
	return object{"$ref": "#/components/schemas/" + name}
}

// loopsBack reports whether t is a named type, other than a struct, that contains itself without a
// named struct in between, such as type Tree []Tree. The schema of such a type must be referenced.
func loopsBack(t *gotype.Type) bool {
	return t.Go.Name() != "" && reaches(t, t.Go, make(map[reflect.Type]bool))
}

// reaches reports whether t contains target without a named struct in between. It skips the types
// in seen, which it has visited before.
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

// failed returns the joined errors of services, or nil if no service has an error.
func failed(services []*chassi.Service) error {
	var errs []error
	for _, s := range services {
		errs = append(errs, s.Err())
	}
	return errors.Join(errs...)
}

// operationIDs returns the operation ID of each endpoint, such as Orders_GetOrder. If several
// endpoints would have the same ID, their IDs include the package, as in orders_v1_Orders_GetOrder.
// operationIDs returns an error if IDs still conflict.
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
				return nil, fmt.Errorf("schema: endpoints %s and %s have the same operation ID %s; rename a service", other.FullName(), e.FullName(), id)
			}
			ids[e], taken[id] = id, e
		}
	}
	return ids, nil
}
