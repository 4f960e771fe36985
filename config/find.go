package config

import (
	"reflect"
	"strconv"
	"strings"
)

// maxElements is the maximum length of a list whose elements are set by variables and flags.
const maxElements = 1000

// find returns the setting whose key or, if env is true, whose environment variable is name. It
// returns nil if there is none. It also finds the settings of elements that do not exist; if create
// is true, it adds these elements.
func find(fields []*field, name string, env, create bool) *field {
	for _, f := range fields {
		if f.name(env) == name && name != "" {
			return f
		}
	}
	for _, f := range fields {
		if e := f.elementIn(name, env, create); e != nil {
			if found := find(e.fields, name, env, create); found != nil {
				return found
			}
		}
	}
	return nil
}

// elementIn returns the element of f to which the setting called name belongs, or nil. If that
// element does not exist, elementIn returns a new element, which it adds to f only if create is
// true.
func (f *field) elementIn(name string, env, create bool) *element {
	key, ok := f.elementName(name, env)
	if !ok {
		return nil
	}
	if !f.has(key) && !create {
		return f.newElement(key, reflect.Value{})
	}
	e, err := f.element(key)
	if err != nil {
		return nil // not reached: checkElementType has set the same defaults
	}
	e.given = e.given || create
	return e
}

// elementName extracts the index or key of an element of f from name, the name of a setting. It
// also returns whether name contains a valid index or key. If env is true, name is an environment
// variable.
func (f *field) elementName(name string, env bool) (string, bool) {
	prefix, end := f.name(env), "."
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok || prefix == "" || !f.hasElements() {
		return "", false
	}
	switch {
	case env:
		rest, ok = strings.CutPrefix(rest, "__")
		end = "__"
	case f.isList():
		rest, ok = strings.CutPrefix(rest, "[")
		end = "]"
	default:
		rest, ok = strings.CutPrefix(rest, ".")
	}
	if known := f.knownElement(name, env, end); ok && known != "" {
		return known, true
	}
	if f.hasGroups() && ok {
		rest, ok = f.cutMember(rest, end, name, env)
	}
	if n, err := strconv.Atoi(rest); f.isList() {
		return rest, ok && err == nil && n >= 0 && n < maxElements && strconv.Itoa(n) == rest
	}
	if env {
		rest = strings.ToLower(rest)
	}
	return rest, ok && rest != ""
}

// cutMember returns the index or key at the beginning of rest, and whether the name of a member
// follows it. rest is the part of name after the name of f, and end is the string that ends an
// index or key. The key of a map may itself contain end. Therefore, for a map, cutMember cuts at
// the first end for which name is a setting of the element with the resulting key or, if there is
// no such end, at the first end.
func (f *field) cutMember(rest, end, name string, env bool) (string, bool) {
	first, _, ok := strings.Cut(rest, end)
	for i := len(first); i < len(rest) && !f.isList(); i++ {
		if strings.HasPrefix(rest[i:], end) && i > 0 && find(f.newElement(rest[:i], reflect.Value{}).fields, name, env, false) != nil {
			return rest[:i], true
		}
	}
	return first, ok
}

// knownElement returns the key of the existing map element to which a setting belongs, or "" if
// there is none. name is the key or variable of the setting. If several elements match,
// knownElement returns the longest key. The key cannot be derived from a variable, which does not
// show whether the key has upper-case letters, "-" or ".".
func (f *field) knownElement(name string, env bool, end string) (known string) {
	for _, e := range f.elements {
		own := e.place.name(env)
		if !f.isList() && len(e.name) > len(known) && (own == name || f.hasGroups() && strings.HasPrefix(name, own+end)) {
			known = e.name
		}
	}
	return known
}

// names returns the keys or, if env is true, the variables of fields, as candidates for the
// misspelled name near. For a list or map, it returns the names in the element to which near refers
// or, if there is none, in a sample element.
func names(fields []*field, near string, env bool) (list []string) {
	for _, f := range fields {
		if !f.hasElements() {
			list = append(list, f.name(env))
			continue
		}
		if !f.isList() && !f.hasGroups() {
			list = append(list, f.name(env)) // a map that can be given as a whole
		}
		e := f.elementIn(near, env, false)
		if e == nil {
			e = f.sample()
		}
		list = append(list, names(e.fields, near, env)...)
	}
	return list
}
