package config

import (
	"errors"
	"fmt"
	"reflect"
)

// sourceDefault is the source of a value that was not set by the file, a variable or a flag.
const sourceDefault = "default"

// setDefaults sets the default values of v, a struct or an element of a map: first, for the settings
// that are zero, the values of the tags, and then, if v is a struct with a method SetDefaults, those
// that the method sets. It returns the settings of v, which it obtains from collect. It returns an
// error if collect fails, or if a value that a setting has by default is not permitted.
func setDefaults(v reflect.Value, collect func() ([]*field, error)) ([]*field, error) {
	fields, err := collect()
	if err != nil {
		return nil, err
	}
	before := make(map[string]string)
	err = fillDefaults(fields, before)
	if !isGroup(v.Type()) || err != nil {
		return fields, err
	}
	s, ok := reflect.TypeAssert[interface{ SetDefaults() }](v.Addr())
	if !ok {
		return fields, nil
	}
	for _, f := range fields {
		f.commit()
	}
	s.SetDefaults()
	if fields, err = collect(); err != nil { // it may have set pointers, lists and maps
		return nil, err
	}
	return fields, fillDefaults(fields, before)
}

// fillDefaults sets each field whose key is not in before to its default value, and checks each
// field whose value differs from that in before. It stores in before the values of the fields that
// are not in an unset optional group.
func fillDefaults(fields []*field, before map[string]string) error {
	var errs []error
	for _, f := range leaves(fields) {
		old, known := before[f.key]
		var err error
		switch {
		case !known:
			err = f.setDefault()
		case f.text() != old:
			err = f.checkDefault()
		}
		if err != nil {
			key, _, wrong := f.subject("", err)
			errs = append(errs, fmt.Errorf("config: the default of %s %w", key, wrong))
		}
		if f.group.isSet() { // otherwise SetDefaults can set the group
			before[f.key] = f.text()
		}
	}
	return errors.Join(errs...)
}

// setDefault checks the value that the field has. If that value is zero, setDefault sets the value
// of the default tag instead. It returns an error if the value is not permitted.
func (f *field) setDefault() error {
	if !f.isZero() {
		return f.checkText()
	}
	if text, ok := f.defaultTag(); ok {
		return f.set(text)
	}
	return nil
}

// checkDefault returns an error if the value of the field, which the method SetDefaults has set and
// which may be zero, is not permitted.
func (f *field) checkDefault() error {
	if f.checkEmpty(f.value, f.text()) != nil {
		tag, _ := f.defaultTag()
		return fmt.Errorf("must not be empty, because the default tag has the value %s", f.mask(tag))
	}
	return f.checkText()
}

// defaultTag returns the value of the default tag and whether the field has one. An element of a
// map has none, because its tag is that of the map.
func (f *field) defaultTag() (string, bool) {
	if f.ofMap {
		return "", false
	}
	return f.tag.Lookup("default")
}
