package config

import "reflect"

// optionalGroup is a pointer to a struct. It stays nil until one of its settings is given.
type optionalGroup struct {
	key     string
	parent  *optionalGroup
	pointer reflect.Value // the pointer in the configuration
	value   reflect.Value // the value that set gives to pointer
}

// isOptionalGroup reports whether the type is a pointer to a group.
func isOptionalGroup(t reflect.Type) bool {
	return t.Kind() == reflect.Pointer && isGroup(t.Elem()) && !isScalar(t) && t != reportType
}

func newOptionalGroup(pointer reflect.Value, p place) *optionalGroup {
	value := reflect.New(pointer.Type().Elem())
	if !pointer.IsNil() { // a copy: the defaults of a program are loaded into more than once
		value.Elem().Set(pointer.Elem())
		pointer.Set(value)
	}
	return &optionalGroup{key: p.key, parent: p.group, pointer: pointer, value: value}
}

// isSet reports whether the pointers of g and of the groups around it are set. It is true for a nil
// g, which means that there is no optional group.
func (g *optionalGroup) isSet() bool {
	return g == nil || !g.pointer.IsNil() && g.parent.isSet()
}

// set sets the pointers of g and of the groups around it.
func (g *optionalGroup) set() {
	if g != nil && g.pointer.IsNil() {
		g.pointer.Set(g.value)
	}
	if g != nil {
		g.parent.set()
	}
}

// groupAt returns the optional group around the field that has the key, or nil.
func (f *field) groupAt(key string) *optionalGroup {
	g := f.group
	for g != nil && g.key != key {
		g = g.parent
	}
	return g
}
