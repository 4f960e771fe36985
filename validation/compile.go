package validation

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"

	"github.com/chassi-go/chassi/schema/gotype"
)

// compiler compiles the plans of a struct type and of all struct types in it.
type compiler struct {
	names Names
	plans map[reflect.Type]*plan
	nodes []*node
	bare  map[reflect.Type]*node // nodes of elements and keys without rules, by the type of the value
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

// activate marks each plan and node that directly contains an active node or plan as active, and
// reports whether it has marked any.
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

// prune removes the plans and nodes that are not active, because they have nothing to check.
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
	if p.validates {
		p.promotion = promotion(t.Go)
		return p, errors.Join(errs...)
	}
	for _, e := range embeddedValidators(t.Go) {
		if e.Tag.Get("json") == "" {
			errs = append(errs, fmt.Errorf("the method Validate of the embedded %s is not promoted to %v; declare a method Validate on %v", e.Name, t.Go, t.Go))
		}
	}
	return p, errors.Join(errs...)
}

// declaringStruct returns the struct type that declares the field at index of t: t itself, or a
// struct embedded in t.
func declaringStruct(t reflect.Type, index []int) reflect.Type {
	for _, i := range index[:len(index)-1] {
		if t = t.Field(i).Type; t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
	}
	return t
}

// unused returns an error if a field of t that is not part of requests has a validate tag other
// than "-".
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

// embeddedValidators returns the embedded fields of t whose type has a method Validate.
func embeddedValidators(t reflect.Type) (list []reflect.StructField) {
	for f := range t.Fields() {
		if f.Anonymous && (f.Type.Implements(validatorType) || reflect.PointerTo(f.Type).Implements(validatorType)) {
			list = append(list, f)
		}
	}
	return list
}

// promotion returns the indexes of the embedded fields through which t, a struct with a method
// Validate, promotes the method, the outermost first. It returns nil if t declares the method.
func promotion(t reflect.Type) (path []int) {
	seen := make(map[reflect.Type]bool)
	for t.Kind() == reflect.Struct && !declaresValidate(t) && !seen[t] {
		seen[t] = true
		embedded := embeddedValidators(t)
		if len(embedded) == 0 {
			return path
		}
		f := embedded[0]
		for _, e := range embedded[1:] { // the one at the lowest depth is promoted
			if inner := indirect(e.Type); inner.Kind() == reflect.Interface || declaresValidate(inner) {
				f = e
			}
		}
		path = append(path, f.Index[0])
		t = indirect(f.Type)
	}
	return path
}

func indirect(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// declaresValidate reports whether the method Validate of t or *t is declared, and not promoted from
// an embedded field. For a promoted method, the compiler generates a function without a source file.
func declaresValidate(t reflect.Type) bool {
	if t.Kind() == reflect.Interface {
		return false
	}
	m, ok := t.MethodByName("Validate")
	if !ok { // or a function is also generated for *t
		m, ok = reflect.PointerTo(t).MethodByName("Validate")
	}
	if !ok {
		return false
	}
	f := runtime.FuncForPC(m.Func.Pointer())
	if f == nil {
		return false
	}
	file, _ := f.FileLine(f.Entry())
	return file != "<autogenerated>"
}

// node compiles t, one scope of a tag, into a node for the values at a site.
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
		return fmt.Errorf("dive cannot apply to %v: want a slice other than []byte, an array or a map, without a method UnmarshalText or UnmarshalJSON", k.Go)
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

// part returns the node of the elements or keys of a container, which are of type k and have the
// rules t. If t is nil, there are no rules, and part returns the same node for all values of type
// k: structs are always checked, and types may be recursive.
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
