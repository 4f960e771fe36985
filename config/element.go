package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// element is one element of a list of structs or of a map.
type element struct {
	place

	name   string        // the index or the key
	value  reflect.Value // a copy, until [field.commit]
	fields []*field
	given  bool // a source has named the element
}

// hasElements reports whether values of type t have elements that are configured by an index or
// key: t is a map with string keys or a list of structs.
func hasElements(t reflect.Type) bool {
	switch {
	case isScalar(t):
		return false
	case t.Kind() == reflect.Map:
		return t.Key().Kind() == reflect.String
	default:
		return t.Kind() == reflect.Slice && (isGroup(t.Elem()) || isOptionalGroup(t.Elem()))
	}
}

// source returns the source of the first setting of the element that does not have its default,
// followed by a colon and a space, or "" if all have their defaults.
func (e *element) source() string {
	for _, f := range leaves(e.fields) {
		if f.source != sourceDefault {
			return f.source + ": "
		}
	}
	return ""
}

func (f *field) hasElements() bool { return hasElements(f.value.Type()) }

func (f *field) isList() bool { return f.value.Kind() == reflect.Slice }

// hasGroups reports whether the elements of the field are structs or pointers to structs.
func (f *field) hasGroups() bool {
	t := f.value.Type().Elem()
	return isGroup(t) || isOptionalGroup(t)
}

// newElement returns an element with a copy of the value in from or, if from is invalid, with the
// zero value. It does not add the element to f.elements.
func (f *field) newElement(name string, from reflect.Value) *element {
	e := &element{name: name, place: f.elementPlace(name), value: reflect.New(f.value.Type().Elem()).Elem()}
	if isOptionalGroup(e.value.Type()) {
		e.value.Set(reflect.New(e.value.Type().Elem()))
		if from.IsValid() && !from.IsNil() {
			e.value.Elem().Set(from.Elem())
		}
	} else if from.IsValid() {
		e.value.Set(from)
	}
	e.fields = f.collectElement(e, nil).fields
	return e
}

// collectElement returns a collector with the settings of the element. around contains the types of
// the structs around the field.
func (f *field) collectElement(e *element, around []reflect.Type) *collector {
	c := &collector{around: slices.Clone(around)}
	switch t := e.value.Type(); {
	case isOptionalGroup(t):
		c.members(e.value.Elem(), e.place)
	case isGroup(t):
		c.members(e.value, e.place)
	default:
		f := &field{place: e.place, value: e.value, tag: f.tag, source: sourceDefault, ofMap: true}
		c.check(f)
		c.fields = append(c.fields, f)
	}
	return c
}

func (f *field) elementPlace(name string) place {
	p := place{key: f.key + "." + name, separator: "__", group: f.group, reload: f.reload}
	if f.isList() {
		p.key = f.key + "[" + name + "]"
	}
	if f.env != "" {
		p.env = f.env + "__" + strings.ToUpper(toEnv.Replace(name))
	}
	return p
}

// sample returns an element with the index N or the key KEY, which stands for all elements in the
// output of [Usage] and in suggestions.
func (f *field) sample() *element {
	e := f.newElement(f.sampleName(), reflect.Value{})
	_ = f.setElementDefaults(e) // checkElementType has set the same
	return e
}

func (f *field) sampleName() string {
	if f.isList() {
		return "N"
	}
	return "KEY"
}

// checkElementType returns the problems with the type of the field's elements.
func (f *field) checkElementType(around []reflect.Type) []error {
	t := f.value.Type().Elem()
	if isOptionalGroup(t) {
		t = t.Elem()
	}
	e := &element{place: f.elementPlace(f.sampleName()), value: reflect.New(t).Elem()}
	c := f.collectElement(e, around)
	if len(c.problems) == 0 && len(c.fields) == 0 {
		c.problem(e.place, fmt.Errorf("the type %v has no settings", t))
	}
	if len(c.problems) == 0 {
		if err := f.setElementDefaults(e); err != nil {
			return []error{err}
		}
	}
	return c.problems
}

// readElements adds the elements in the current value of the field to f.elements.
func (f *field) readElements() {
	if !f.hasElements() {
		return
	}
	for key, v := range f.value.Seq2() {
		name := key.String()
		if f.isList() {
			name = strconv.FormatInt(key.Int(), 10)
		}
		e := f.newElement(name, v)
		e.given = true
		f.addElement(e)
	}
}

func (f *field) has(name string) bool { return f.byName[name] != nil }

func (f *field) removeElements() { f.elements, f.byName = nil, nil }

func (f *field) addElement(e *element) {
	if f.byName == nil {
		f.byName = make(map[string]*element)
	}
	f.byName[e.name] = e
	f.elements = append(f.elements, e)
}

// element returns the element with the given name. If the element does not exist, element adds it
// with its default values and, in a list, also the missing elements before it.
func (f *field) element(name string) (*element, error) {
	if e := f.byName[name]; e != nil {
		return e, nil
	}
	if n, err := strconv.Atoi(name); err == nil && f.isList() && n > len(f.elements) {
		if _, err := f.element(strconv.Itoa(n - 1)); err != nil {
			return nil, err
		}
	}
	e := f.newElement(name, reflect.Value{})
	f.addElement(e)
	return e, f.setElementDefaults(e)
}

// setElementDefaults sets the default values of a new element.
func (f *field) setElementDefaults(e *element) (err error) {
	e.fields, err = setDefaults(reflect.Indirect(e.value), func() ([]*field, error) {
		c := f.collectElement(e, nil)
		return c.fields, errors.Join(c.problems...)
	})
	return err
}

// commit sets the value of the field from its elements. It sorts the elements of a map by key.
func (f *field) commit() {
	if !f.hasElements() {
		return
	}
	if !f.isList() {
		slices.SortFunc(f.elements, func(a, b *element) int { return strings.Compare(a.name, b.name) })
	}
	t := f.value.Type()
	f.value.SetZero()
	for _, e := range f.elements {
		for _, m := range e.fields {
			m.commit()
		}
		if f.isList() {
			f.value.Set(reflect.Append(f.value, e.value))
			continue
		}
		if f.value.IsNil() {
			f.value.Set(reflect.MakeMap(t))
		}
		f.value.SetMapIndex(reflect.ValueOf(e.name).Convert(t.Key()), e.value)
	}
}

// checkGaps returns an error if a list has an element that no source has named. Such an element
// exists only because a source has named an element with a higher index.
func (f *field) checkGaps() error {
	var errs []error
	for i, e := range f.elements {
		if !e.given {
			later := f.elements[i+slices.IndexFunc(f.elements[i:], func(e *element) bool { return e.given })]
			return fmt.Errorf("%s%s is not set, but %s is; number the elements from 0 without gaps", later.source(), e.key, later.key)
		}
		for _, m := range e.fields {
			errs = append(errs, m.checkGaps())
		}
	}
	return errors.Join(errs...)
}

// leaves returns the fields that have a value: settings, including those of elements, and lists and
// maps without elements.
func leaves(fields []*field) (all []*field) {
	for _, f := range fields {
		if len(f.elements) == 0 {
			all = append(all, f)
		}
		for _, e := range f.elements {
			all = append(all, leaves(e.fields)...)
		}
	}
	return all
}
