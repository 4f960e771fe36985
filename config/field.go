package config

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/chassi-go/chassi/redact"
)

// field is one setting of the struct, or a list or map whose elements have settings.
type field struct {
	place

	value    reflect.Value
	tag      reflect.StructTag
	source   string
	elements []*element // elements of a list of structs or a map, in order
	byName   map[string]*element
	ofMap    bool // the value is an element of a map, and tag is that of the map
}

// place is the position of a field, a group or an element in the configuration.
type place struct {
	key       string         // "http.addr", "hooks[0].url"
	env       string         // "AUTHD_HTTP_ADDR", "AUTHD_HOOKS__0__URL"; "" without a program name
	separator string         // in env, before the name of a member
	group     *optionalGroup // the innermost optional group around the place, or nil
	reload    bool           // the tag reload, of the field or of a struct, list or map around it
}

// rootPlace returns the place of the struct that is loaded.
func rootPlace(program string) place {
	return place{env: strings.ToUpper(toEnv.Replace(program)), separator: "_"}
}

// member returns the place of the member called word in the group at p.
func (p place) member(word string) place {
	if p.key != "" {
		p.key += "."
	}
	p.key += word
	if p.env != "" {
		p.env += p.separator + strings.ToUpper(toEnv.Replace(word))
	}
	p.separator = "_"
	return p
}

// name returns the environment variable if env is true, and the key otherwise.
func (p place) name(env bool) string {
	if env {
		return p.env
	}
	return p.key
}

var (
	reportType      = reflect.TypeFor[*Report]()
	secretType      = reflect.TypeFor[Secret]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// fieldsOf returns the settings of the struct v. It returns an error that names each field whose
// type, tags or name cannot be used.
func fieldsOf(v reflect.Value, program string) ([]*field, error) {
	var c collector
	c.members(v, rootPlace(program))
	names := make(map[string]string)
	claim := func(name, key string) {
		switch other, taken := names[name]; {
		case !taken || name == "":
		case other == key:
			c.problems = append(c.problems, fmt.Errorf("config: two settings have the name %s", name))
		default:
			c.problems = append(c.problems, fmt.Errorf("config: %s and %s have the same name %s", other, key, name))
		}
		names[name] = key
	}
	for _, f := range c.fields {
		claim(f.key, f.key)
		claim(f.env, f.key)
		if f.masked() && f.env != "" {
			claim(f.env+"_FILE", f.key)
		}
	}
	return c.fields, errors.Join(c.problems...)
}

// collector collects the fields of structs, and the problems with their types and tags.
type collector struct {
	fields   []*field
	problems []error
	around   []reflect.Type // the structs around the current one
}

// members adds the fields of the struct v, whose place is p, to c.
func (c *collector) members(v reflect.Value, p place) {
	if slices.Contains(c.around, v.Type()) {
		c.problem(p, fmt.Errorf("the type %v contains itself", v.Type()))
		return
	}
	c.around = append(c.around, v.Type())
	defer func() { c.around = c.around[:len(c.around)-1] }()
	for i := range v.NumField() {
		sf := v.Type().Field(i)
		word := sf.Tag.Get("config")
		switch {
		case sf.Anonymous && isGroup(sf.Type):
			c.add(v.Field(i), p, sf.Tag)
		case sf.Type == reportType || word == "" || word == "-":
		case !sf.IsExported():
			c.problem(p.member(word), fmt.Errorf("the field %s is not exported", sf.Name))
		default:
			c.add(v.Field(i), p.member(word), sf.Tag)
		}
	}
}

// add adds the value v, which is a setting, a group, or a list or map of settings or groups, to c.
func (c *collector) add(v reflect.Value, p place, tag reflect.StructTag) {
	p.reload = p.reload || tag.Get("reload") == "true"
	switch t := v.Type(); {
	case isGroup(t):
		c.checkGroupTags(p, tag)
		c.members(v, p)
	case isOptionalGroup(t):
		c.checkGroupTags(p, tag)
		p.group = newOptionalGroup(v, p)
		c.members(p.group.value.Elem(), p)
	default:
		f := &field{place: p, value: v, tag: tag, source: sourceDefault}
		before := len(c.problems)
		c.check(f)
		if len(c.problems) == before {
			f.readElements()
			c.fields = append(c.fields, f)
		}
	}
}

// checkGroupTags adds a problem to c for each given tag that has no effect on a struct, or on a
// list or map of structs.
func (c *collector) checkGroupTags(p place, tag reflect.StructTag) {
	for _, name := range []string{"default", "min", "max", "oneof", "format", "secret", "mask"} {
		if _, ok := tag.Lookup(name); ok {
			c.problem(p, fmt.Errorf("the tag %s has no effect on structs; give it to the fields of the struct", name))
		}
	}
}

func (c *collector) problem(p place, err error) {
	c.problems = append(c.problems, fmt.Errorf("config: %s: %w", cmp.Or(p.key, "an embedded struct"), err))
}

// setReports sets the fields of type *Report in the struct v, and in structs embedded in it, to
// report.
func setReports(v reflect.Value, report *Report) {
	for i := range v.NumField() {
		switch sf := v.Type().Field(i); {
		case sf.Type == reportType && sf.IsExported():
			v.Field(i).Set(reflect.ValueOf(report))
		case sf.Anonymous && sf.Type.Kind() == reflect.Struct:
			setReports(v.Field(i), report)
		}
	}
}

// check adds the problems with the type and the tags of the field to c.
func (c *collector) check(f *field) {
	t := f.value.Type()
	switch {
	case f.hasElements() && !hasElements(t.Elem()):
		if f.hasGroups() {
			c.checkGroupTags(f.place, f.tag)
		}
		c.problems = append(c.problems, f.checkElementType(c.around)...)
	case isScalar(t), t.Kind() == reflect.Slice && isScalar(t.Elem()), t.Kind() == reflect.Pointer && isScalar(t.Elem()):
		if err := f.checkTags(); err != nil {
			c.problem(f.place, err)
		}
	default:
		c.problem(f.place, fmt.Errorf("the type %v cannot be configured: use a string, a number, a duration, a boolean, a TextUnmarshaler or a struct, a pointer to or a list of these, or a map from strings to these", t))
	}
}

// isScalar reports whether a value of type t is written as a single string.
func isScalar(t reflect.Type) bool {
	if reflect.PointerTo(t).Implements(textUnmarshaler) {
		return true
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		return true
	default:
		return false
	}
}

// isGroup reports whether t is a struct type whose fields are settings.
func isGroup(t reflect.Type) bool { return t.Kind() == reflect.Struct && !isScalar(t) }

// scalarType returns the type of a single value of the field: for a list, map or pointer, the type
// of its elements.
func (f *field) scalarType() reflect.Type {
	t := f.value.Type()
	for !isScalar(t) && (t.Kind() == reflect.Slice || t.Kind() == reflect.Map || t.Kind() == reflect.Pointer) {
		t = t.Elem()
	}
	return t
}

func (f *field) isZero() bool {
	if f.value.Kind() == reflect.Slice {
		return f.value.Len() == 0
	}
	return f.value.IsZero()
}

func (f *field) secret() bool {
	return f.tag.Get("secret") == "true" || f.scalarType() == secretType
}

// masked reports whether the value may be, or contain, a secret.
func (f *field) masked() bool { return f.secret() || f.tag.Get("mask") != "" }

// mask returns text, a value of the field, with its secrets masked.
func (f *field) mask(text string) string {
	switch {
	case f.secret() && text != "":
		return redact.Mask
	case f.tag.Get("mask") == "url":
		return redact.URL(text)
	default:
		return text
	}
}

// text returns the value in the form in which it is configured, including secrets. It returns ""
// for a list of structs, a map and a nil pointer.
func (f *field) text() string {
	v := f.value
	switch {
	case f.hasElements():
		return ""
	case isScalar(v.Type()):
		return scalarText(v)
	case v.Kind() == reflect.Pointer && v.IsNil():
		return ""
	case v.Kind() == reflect.Pointer:
		return scalarText(v.Elem())
	default:
		items := make([]string, v.Len())
		for i := range items {
			items[i] = scalarText(v.Index(i))
		}
		return strings.Join(items, ",")
	}
}

func scalarText(v reflect.Value) string {
	if v.Type() == secretType {
		return v.String()
	}
	return fmt.Sprint(v.Interface())
}

// maxShown is the maximum length of a value in an error, in bytes.
const maxShown = 200

// elementError is an error about one value of a list or of a map.
type elementError struct {
	name string // "[1]", ".key"
	text string // the value, which may be a secret
	err  error
}

// Error returns the name of the element and the problem, without the value.
func (e *elementError) Error() string { return e.name + " " + e.err.Error() }

func (e *elementError) Unwrap() error { return e.err }

// subject returns the key of the setting that err concerns, its value without secrets, and what is
// wrong with it. text is the value of the field. If err concerns one element of the field, the key
// and the value are those of the element.
func (f *field) subject(text string, err error) (key, value string, wrong error) {
	e, ok := errors.AsType[*elementError](err)
	switch {
	case !ok:
		return f.key, f.mask(text), err
	case f.mask(text) != text: // the element may be a part of a password with a comma
		return f.key + e.name, redact.Mask, e.err
	default:
		return f.key + e.name, e.text, e.err
	}
}

// problem returns an error that contains source unless it is "" or the default, the key, the value
// in text unless it is secret, and the reason in err.
func (f *field) problem(source, text string, err error) error {
	key, text, err := f.subject(text, err)
	shown := ""
	if !f.secret() {
		if len(text) > maxShown {
			text = text[:maxShown] + "..."
		}
		shown = fmt.Sprintf(" (%q)", text)
	}
	if source != "" && source != sourceDefault {
		source += ": "
	} else {
		source = ""
	}
	return fmt.Errorf("%s%s%s %w", source, key, shown, err)
}

// sortedKeys returns the keys of a map in order.
func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
