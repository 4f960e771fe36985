package config

import "reflect"

// optionalGroup is a group of settings behind a pointer to a struct. A nil pointer stays nil until
// one of the settings is given, or the configuration file contains the group as a mapping.
type optionalGroup struct {
	key     string
	parent  *optionalGroup
	pointer reflect.Value // the pointer in the configuration
	value   reflect.Value // the value to which set sets pointer
}

// isOptionalGroup reports whether t is a pointer to a struct whose fields are settings.
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

// isSet reports whether the pointers of g and of the groups around it are set. It returns true for
// a nil g, which means that there is no optional group.
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

// groupAt returns the optional group with the given key that contains the field, or nil.
func (f *field) groupAt(key string) *optionalGroup {
	g := f.group
	for g != nil && g.key != key {
		g = g.parent
	}
	return g
}
