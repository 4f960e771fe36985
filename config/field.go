package config

import (
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
	elements []*element // of a list of structs or a map
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

// member returns the place of a member of the group at p.
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

// name returns the environment variable or the key.
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

// fieldsOf returns the settings of the struct v, and an error that names the fields whose type,
// tags or name cannot be used.
func fieldsOf(v reflect.Value, program string) ([]*field, error) {
	var c collector
	c.members(v, rootPlace(program))
	names := make(map[string]string)
	claim := func(name, key string) {
		if other, taken := names[name]; taken && name != "" {
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

// collector collects the fields of structs.
type collector struct {
	fields   []*field
	problems []error
	around   []reflect.Type // the structs around the current one
}

// members adds the fields of the struct v.
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

// add adds the value v, which is a setting, a group, or a list or map of settings or groups.
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

// checkGroupTags adds a problem for each tag that a struct, or a list or map of structs, cannot have.
func (c *collector) checkGroupTags(p place, tag reflect.StructTag) {
	for _, name := range []string{"default", "min", "max", "oneof", "format", "secret", "mask"} {
		if _, ok := tag.Lookup(name); ok {
			c.problem(p, fmt.Errorf("has the tag %s, which has no effect on a struct; give it to fields of the struct", name))
		}
	}
}

func (c *collector) problem(p place, err error) {
	c.problems = append(c.problems, fmt.Errorf("config: %s: %w", p.key, err))
}

// setReports sets the fields of type *Report in the struct v, and in structs embedded in it.
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

// check adds the problems of the field's type and tags.
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
		c.problem(f.place, fmt.Errorf("the type %v cannot be configured: use text, a number, a duration, a boolean, a TextUnmarshaler or a struct, a pointer to or a list of these, or a map of these by string", t))
	}
}

// isScalar reports whether a value of the type is written as a single text.
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

// isGroup reports whether values of the type have settings as members.
func isGroup(t reflect.Type) bool { return t.Kind() == reflect.Struct && !isScalar(t) }

// scalarType returns the type of one value of the field.
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

// mask returns text, which may be a value of f, without secrets.
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

// text returns the value as it is written, secrets included. It is empty for a list of
// structs or a map.
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

// Error does not contain the value.
func (e *elementError) Error() string { return e.name + " " + e.err.Error() }

func (e *elementError) Unwrap() error { return e.err }

// subject returns the key of the setting that err is about, the value without secrets, and what is
// wrong with it. text is the value of the field. If err is about one element of the field, the key
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

// problem returns err, which is about text, a value of the field, with the source, the key and, if
// it is not secret, the value.
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
