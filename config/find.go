package config

import (
	"reflect"
	"strconv"
	"strings"
)

// maxElements is the maximum number of elements of a list from variables and flags.
const maxElements = 1000

// find returns the setting whose key or, if env is true, environment variable is name, or nil. It
// also finds the settings of elements that do not exist. If create is true, it adds these elements.
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

// elementIn returns the element of f to which the setting with that name belongs, or nil. A missing
// element is added to f only if create is true.
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

// elementName returns the index or key of the element of f that the name of a setting contains, and
// whether the name contains a valid one. If env is true, the name is that of a variable.
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

// cutMember returns rest without the name of a member at its end, and whether rest has one. rest is
// the part of name behind the name of f. The key of a map may contain end: cutMember cuts at the
// first end that leaves the name of a setting or, if there is none, at the first of all.
func (f *field) cutMember(rest, end, name string, env bool) (string, bool) {
	first, _, ok := strings.Cut(rest, end)
	for i := len(first); i < len(rest) && !f.isList(); i++ {
		if strings.HasPrefix(rest[i:], end) && i > 0 && find(f.newElement(rest[:i], reflect.Value{}).fields, name, env, false) != nil {
			return rest[:i], true
		}
	}
	return first, ok
}

// knownElement returns the key of the existing element of a map that a key or variable names, or
// "". If several match, it returns the longest key. A variable does not show whether a key has
// upper-case letters, "-" or ".".
func (f *field) knownElement(name string, env bool, end string) (known string) {
	for _, e := range f.elements {
		own := e.place.name(env)
		if !f.isList() && len(e.name) > len(known) && (own == name || f.hasGroups() && strings.HasPrefix(name, own+end)) {
			known = e.name
		}
	}
	return known
}

// names returns the keys or, if env is true, the variables that a misspelled name near could mean.
// For a list or map they are those of the element in near or, if it has none, of a sample.
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
