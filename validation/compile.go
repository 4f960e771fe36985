package validation

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/chassi-go/chassi/schema/gotype"
)

// compiler compiles the plans of a struct and of all structs in it.
type compiler struct {
	names Names
	plans map[reflect.Type]*plan
	nodes []*node
	bare  map[reflect.Type]*node // of the elements and keys of containers without rules, by type
}

func compile(t *gotype.Type, names Names) (*plan, error) {
	c := compiler{names: names, plans: make(map[reflect.Type]*plan), bare: make(map[reflect.Type]*node)}
	p, err := c.plan(t)
	if err != nil {
		return nil, err
	}
	for c.activate() { // a value that contains an active one is active
	}
	c.prune()
	return p, nil
}

// activate marks plans and nodes with checks, and reports whether it marked any.
func (c *compiler) activate() (news bool) {
	for _, p := range c.plans {
		if !p.active && slices.ContainsFunc(p.fields, func(f field) bool { return f.node.active }) {
			p.active, news = true, true
		}
	}
	for _, n := range c.nodes {
		if !n.active && (n.inner != nil && n.inner.active || n.elem != nil && n.elem.active || n.key != nil && n.key.active) {
			n.active, news = true, true
		}
	}
	return news
}

// prune removes plans and nodes without checks.
func (c *compiler) prune() {
	for _, p := range c.plans {
		p.fields = slices.DeleteFunc(p.fields, func(f field) bool { return !f.node.active })
	}
	for _, n := range c.nodes {
		if n.inner != nil && !n.inner.active {
			n.inner = nil
		}
		if n.elem != nil && !n.elem.active {
			n.elem = nil
		}
		if n.key != nil && !n.key.active {
			n.key = nil
		}
	}
}

func (c *compiler) plan(t *gotype.Type) (*plan, error) {
	if p := c.plans[t.Go]; p != nil {
		return p, nil
	}
	p := &plan{validates: reflect.PointerTo(t.Go).Implements(validatorType)}
	p.active = p.validates
	c.plans[t.Go] = p
	errs := []error{unused(t)}
	for i := range t.Fields {
		described := &t.Fields[i]
		f := field{name: c.names.of(described), index: described.Index}
		declaring := declaringStruct(t.Go, f.index)
		if described.Indirect {
			f.zero = reflect.New(declaring).Elem()
		}
		parsed, err := parseTag(described.Tag.Get("validate"))
		if err == nil && parsed.skip {
			continue
		}
		if err == nil {
			f.node, err = c.node(parsed, &site{kind: described.Type, parent: declaring, quoted: described.Quoted, names: c.names})
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("field %s: %w", described.Name, err))
			continue
		}
		p.fields = append(p.fields, f)
	}
	embedded := embeddedValidators(t.Go)
	for _, e := range embedded {
		if !p.validates {
			errs = append(errs, fmt.Errorf("the method Validate of the embedded %s is not promoted to %v; declare one on %v", e.Name, t.Go, t.Go))
		}
		if e.Type.Kind() == reflect.Pointer {
			p.indirect = append(p.indirect, e.Index[0])
		}
	}
	return p, errors.Join(errs...)
}

// declaringStruct returns the struct that declares the field at index of t.
func declaringStruct(t reflect.Type, index []int) reflect.Type {
	for _, i := range index[:len(index)-1] {
		if t = t.Field(i).Type; t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
	}
	return t
}

// unused returns an error if a field that is not in requests has a validate tag.
func unused(t *gotype.Type) error {
	for i := range t.Go.NumField() {
		f := t.Go.Field(i)
		tag := f.Tag.Get("validate")
		carried := slices.ContainsFunc(t.Fields, func(c gotype.Field) bool { return len(c.Index) == 1 && c.Index[0] == i })
		if tag != "" && tag != "-" && !carried {
			return fmt.Errorf("field %s: it has rules, but is not a field of requests; remove its validate tag", f.Name)
		}
	}
	return nil
}

// embeddedValidators returns the embedded fields whose type has a method Validate.
func embeddedValidators(t reflect.Type) (list []reflect.StructField) {
	for f := range t.Fields() {
		if f.Anonymous && f.Tag.Get("json") == "" && (f.Type.Implements(validatorType) || reflect.PointerTo(f.Type).Implements(validatorType)) {
			list = append(list, f)
		}
	}
	return list
}

// node compiles one scope of a tag for the type at a site.
func (c *compiler) node(t *tag, at *site) (*node, error) {
	n := new(node)
	c.nodes = append(c.nodes, n)
	return n, c.fill(n, t, at)
}

func (c *compiler) fill(n *node, t *tag, at *site) (err error) {
	pointer := at.kind.Kind == gotype.Pointer
	target := *at
	target.kind = at.kind.Indirect()
	n.required, n.omitEmpty = t.required, t.omitEmpty
	if err := presence(n, t, target.kind, pointer); err != nil {
		return err
	}
	if n.rules, err = newRules(t, &target); err != nil {
		return err
	}
	k := target.kind
	defer func() { n.active = n.required || n.omitEmpty || len(n.rules) > 0 || n.validates }()
	n.validates = k.Kind != gotype.Struct && k.Kind != gotype.Any && reflect.PointerTo(k.Go).Implements(validatorType)
	opaque := k.Encode != gotype.Native && k.Decode != gotype.Native
	switch {
	case t.elements != nil && (opaque || k.Kind != gotype.List && k.Kind != gotype.Array && k.Kind != gotype.Map):
		return fmt.Errorf("dive cannot apply to %v: want a list or map", k.Go)
	case t.keys != nil && k.Kind != gotype.Map:
		return fmt.Errorf("keys cannot apply to %v: want a map", k.Go)
	case opaque:
		n.validates = reflect.PointerTo(k.Go).Implements(validatorType)
		return nil
	case k.Kind == gotype.Struct:
		n.inner, err = c.plan(k)
		return err
	case k.Kind == gotype.List, k.Kind == gotype.Array, k.Kind == gotype.Map:
		return c.elements(n, t, k)
	default:
		return nil
	}
}

func (c *compiler) elements(n *node, t *tag, k *gotype.Type) (err error) {
	if n.elem, err = c.part(t.elements, k.Elem, false); err != nil {
		return fmt.Errorf("elements: %w", err)
	}
	if k.Kind == gotype.Map {
		if n.key, err = c.part(t.keys, k.Key, k.Key.Kind != gotype.String); err != nil {
			return fmt.Errorf("keys: %w", err)
		}
	}
	return nil
}

// part returns the node of the elements or keys of a container. Without rules (t is nil) it
// returns the node of their type, because structs are always checked, and a type may be
// recursive.
func (c *compiler) part(t *tag, k *gotype.Type, quoted bool) (*node, error) {
	if t != nil {
		return c.node(t, &site{kind: k, quoted: quoted})
	}
	if n := c.bare[k.Go]; n != nil {
		return n, nil
	}
	n := new(node)
	c.nodes = append(c.nodes, n)
	c.bare[k.Go] = n
	return n, c.fill(n, new(tag), &site{kind: k})
}
