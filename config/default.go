package config

import (
	"errors"
	"fmt"
	"reflect"
)

// sourceDefault is the source of a value that neither the file nor a variable or flag has given.
const sourceDefault = "default"

// setDefaults sets the default values of the struct v, whose settings collect returns: the
// values of the tags, and then those of its method SetDefaults. It returns the settings.
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

// fillDefaults gives each setting that is not in before its default value, and checks each
// that has another value than in before. It adds the values to before.
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
			errs = append(errs, fmt.Errorf("config: default of %s %w", key, wrong))
		}
		if f.group.isSet() { // otherwise SetDefaults can set the group
			before[f.key] = f.text()
		}
	}
	return errors.Join(errs...)
}

// setDefault checks and keeps the value that the struct has or, if that is zero, sets the value of
// the tag.
func (f *field) setDefault() error {
	if !f.isZero() {
		return f.checkText()
	}
	if text, ok := f.defaultTag(); ok {
		return f.set(text)
	}
	return nil
}

// checkDefault checks a value that the method SetDefaults has set, which may be zero.
func (f *field) checkDefault() error {
	if err := f.checkEmpty(f.value, f.text()); err != nil {
		return err
	}
	return f.checkText()
}

// defaultTag returns the default value in the tag and whether there is one. Elements of maps have
// none.
func (f *field) defaultTag() (string, bool) {
	if f.ofMap {
		return "", false
	}
	return f.tag.Lookup("default")
}
