package protobuf

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/gotype"
)

// messageNames holds the names of all messages and enums of a file.
type messageNames struct {
	of         map[gotype.Named]string
	nested     map[reflect.Type]gotype.Named // unnamed structs, named by first occurrence
	details    map[reflect.Type]string       // names of details, without the package
	ofEndpoint map[*chassi.Endpoint][]endpointMessage
}

// endpointMessage is a message that an endpoint receives, returns or has in its errors.
type endpointMessage struct {
	plan   *Plan
	named  gotype.Named
	detail string // the name of a detail, without the package; empty for other messages
}

func (n *messageNames) ofMessage(m endpointMessage) string {
	if m.detail != "" {
		return m.detail
	}
	if given, ok := n.details[m.plan.goType]; ok {
		return given
	}
	return n.of[m.named]
}

func (n *messageNames) ofType(t reflect.Type) string {
	if given, ok := n.details[t]; ok {
		return given
	}
	if named, ok := n.nested[t]; ok {
		return n.of[named]
	}
	return n.of[gotype.Named{Type: t}]
}

// nameMessages returns the names of the messages and enums of services, all of which are of the
// package pkg. It visits the endpoints in the order of their names, so that the order of
// registration does not matter. It returns an error if a type cannot be encoded or names conflict.
func nameMessages(pkg string, services []*chassi.Service) (*messageNames, error) {
	n := &messageNames{nested: make(map[reflect.Type]gotype.Named), details: make(map[reflect.Type]string), ofEndpoint: make(map[*chassi.Endpoint][]endpointMessage)}
	var endpoints []*chassi.Endpoint
	var reserved []string
	for _, s := range services {
		endpoints = append(endpoints, slices.DeleteFunc(s.Endpoints(), func(e *chassi.Endpoint) bool { return !e.ServedOver("grpc") })...)
		reserved = append(reserved, s.Name()[strings.LastIndexByte(s.Name(), '.')+1:])
	}
	slices.SortFunc(endpoints, func(a, b *chassi.Endpoint) int { return strings.Compare(a.FullName(), b.FullName()) })
	given := make(map[string]reflect.Type)
	for _, e := range endpoints {
		for _, each := range []struct {
			of     reflect.Type
			suffix string
		}{{e.RequestType(), "Request"}, {e.ResponseType(), "Response"}} {
			if err := n.add(e, each.of, each.suffix); err != nil {
				return nil, fmt.Errorf("%s: %w", e.FullName(), err)
			}
		}
		if err := n.addDetails(pkg, e, given); err != nil {
			return nil, err
		}
	}
	seen := make(map[reflect.Type]bool)
	var all []gotype.Named
	var roots []gotype.Root
	for _, e := range endpoints {
		for _, m := range n.ofEndpoint[e] {
			roots = append(roots, gotype.Root{Endpoint: e.FullName(), Type: m.plan.goType})
			all = append(n.collect(all, m.plan, m.named, seen), m.named)
		}
	}
	all = slices.DeleteFunc(all, func(named gotype.Named) bool { return n.details[named.Type] != "" })
	var err error
	if n.of, err = gotype.Names(all, roots, slices.AppendSeq(reserved, maps.Keys(given))...); err != nil {
		return nil, fmt.Errorf("package %s: %w", pkg, err)
	}
	return n, nil
}

func (n *messageNames) add(e *chassi.Endpoint, t reflect.Type, suffix string) error {
	p, err := PlanOf(t)
	named := gotype.Named{Type: t}
	if t.Name() == "" {
		service, _, _ := strings.Cut(e.FullName(), "/")
		named.Fallback, named.Scope = e.Name()+suffix, service
	}
	n.ofEndpoint[e] = append(n.ofEndpoint[e], endpointMessage{plan: p, named: named})
	return err
}

// addDetails adds those details of the errors of e whose names are in the package pkg. No method
// refers to the messages of details, but clients receive them. The map given holds the types of the
// details that were added before, by name, and addDetails adds to it. It returns an error if a
// detail, even one of another package, cannot be encoded, or if names conflict.
func (n *messageNames) addDetails(pkg string, e *chassi.Endpoint, given map[string]reflect.Type) error {
	for _, declared := range e.Errors() {
		for _, d := range declared.Details {
			t := reflect.TypeOf(d)
			if t.Kind() == reflect.Pointer {
				t = t.Elem()
			}
			if t == reflect.TypeFor[chassi.EncodedDetail]() {
				continue
			}
			p, err := PlanOf(t)
			if err != nil {
				return fmt.Errorf("%s: detail %s: %w", e.FullName(), d.DetailName(), err)
			}
			name, ours := strings.CutPrefix(d.DetailName(), pkg+".")
			if !ours || strings.Contains(name, ".") {
				continue
			}
			if other := given[name]; other != nil && other != t {
				return fmt.Errorf("%s: details %v and %v have the same name %s", e.FullName(), other, t, d.DetailName())
			}
			given[name], n.details[t] = t, name
			n.ofEndpoint[e] = append(n.ofEndpoint[e], endpointMessage{plan: p, named: gotype.Named{Type: t}, detail: name})
		}
	}
	return nil
}

// collect returns the slice all, extended with the messages and enums that occur in the fields of
// the message of plan p, at any depth. It skips the messages in seen.
func (n *messageNames) collect(all []gotype.Named, p *Plan, in gotype.Named, seen map[reflect.Type]bool) []gotype.Named {
	if seen[p.goType] {
		return all
	}
	seen[p.goType] = true
	for i := range p.fields {
		f := &p.fields[i]
		switch {
		case f.kind.enum != nil:
			all = append(all, gotype.Named{Type: f.kind.goType})
		case f.kind.message != nil:
			named := gotype.Named{Type: f.kind.message.goType}
			if named.Type.Name() == "" {
				if _, known := n.nested[named.Type]; !known {
					n.nested[named.Type] = gotype.Named{Type: named.Type, Fallback: nameIn(in) + p.nestedName(f), Scope: scopeOf(in)}
				}
				named = n.nested[named.Type]
			}
			all = append(n.collect(all, f.kind.message, named, seen), named)
		}
	}
	return all
}

// nestedName returns the part that f adds to the name of its message, whose type has no Go name:
// the Go name of f. If f is a field of an embedded struct and another field of p has the same Go
// name, the names of the structs that contain f precede it.
func (p *Plan) nestedName(f *field) string {
	name := gotype.Identifier(f.goName)
	isOther := func(o field) bool { return o.goName == f.goName && !slices.Equal(o.index, f.index) }
	if len(f.index) == 1 || !slices.ContainsFunc(p.fields, isOther) {
		return name
	}
	var names []string
	t := p.goType
	for _, i := range f.index {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		names = append(names, gotype.Identifier(t.Field(i).Name))
		t = t.Field(i).Type
	}
	return strings.Join(names, "")
}

func nameIn(outer gotype.Named) string {
	if outer.Fallback != "" {
		return outer.Fallback
	}
	return gotype.Identifier(outer.Type.Name())
}

func scopeOf(outer gotype.Named) string {
	if outer.Fallback != "" {
		return outer.Scope
	}
	return strings.ReplaceAll(outer.Type.PkgPath(), "/", ".")
}
