package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// set sets the field to the value in text. It returns an error if the value is not permitted.
func (f *field) set(text string) error {
	t := f.value.Type()
	switch {
	case f.hasElements():
		return f.setPairs(splitList(text))
	case isScalar(t):
		return f.setScalar(f.value, text)
	case t.Kind() == reflect.Pointer:
		v := reflect.New(t.Elem())
		if err := f.setScalar(v.Elem(), text); err != nil {
			return err
		}
		f.value.Set(v)
		return nil
	default:
		return f.setList(splitList(text))
	}
}

// setScalar sets v, one value of the field, to the value in text. It returns an error if the value
// is not permitted. A string that has a default cannot be empty, because the packages that use it
// replace the empty string with that default.
func (f *field) setScalar(v reflect.Value, text string) error {
	if err := f.checkEmpty(v, text); err != nil {
		return err
	}
	if err := f.parse(v, text); err != nil {
		return err
	}
	return f.checkScalar(v, text)
}

func (f *field) checkEmpty(v reflect.Value, text string) error {
	if byDefault, _ := f.defaultTag(); text == "" && byDefault != "" && v.Kind() == reflect.String {
		return fmt.Errorf("must not be empty; leave it out for the default, %s", f.mask(byDefault))
	}
	return nil
}

func splitList(text string) (items []string) {
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

func (f *field) setList(items []string) error {
	if f.value.Kind() != reflect.Slice || isScalar(f.value.Type()) || f.hasElements() {
		return errors.New("must be one value, not a list")
	}
	list := reflect.MakeSlice(f.value.Type(), len(items), len(items))
	for i, item := range items {
		if err := f.setScalar(list.Index(i), item); err != nil {
			return &elementError{fmt.Sprintf("[%d]", i), item, err}
		}
	}
	f.value.Set(list)
	return nil
}

// setPairs sets a map from pairs of the form KEY=VALUE. Without pairs it sets an empty map or list.
func (f *field) setPairs(pairs []string) error {
	if len(pairs) > 0 && (f.hasGroups() || !isScalar(f.value.Type().Elem())) {
		return fmt.Errorf("cannot be set as a whole; set its elements, for example %s", f.sample().fields[0].key)
	}
	f.removeElements()
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return errors.New("must be a comma-separated list of KEY=VALUE")
		}
		if f.has(key) {
			return fmt.Errorf("has the key %s twice", key)
		}
		e, err := f.element(key)
		if err == nil {
			e.given = true
			err = e.fields[0].set(value)
		}
		if err != nil {
			return &elementError{"." + key, value, err}
		}
	}
	return nil
}

// withoutValue returns text, the text of an error about value, without everything up to and
// including the quoted value, because the caller shows the value itself. It returns text unchanged
// if text does not contain the quoted value before a colon.
func withoutValue(text, value string) string {
	quoted := strconv.Quote(value)
	for _, end := range []string{quoted + ": ", quoted + "): "} {
		if _, reason, ok := strings.Cut(text, end); ok {
			return reason
		}
	}
	return text
}

// parse sets v to the value in text. The error does not contain text if text is a secret.
func (f *field) parse(v reflect.Value, text string) error {
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		switch err := u.UnmarshalText([]byte(text)); {
		case err == nil:
			return nil
		case f.masked():
			return errors.New("is not valid")
		default:
			return &otherText{"is not valid: " + withoutValue(err.Error(), text), err}
		}
	}
	bits := 8 * int(v.Type().Size()) // of a number
	var err error
	want := ""
	switch {
	case v.Type() == reflect.TypeFor[time.Duration]():
		var d time.Duration
		d, err = time.ParseDuration(text)
		v.SetInt(int64(d))
		want = "a duration such as 500ms, 10s or 1h30m, of at most 2562047h"
	case v.Kind() == reflect.String:
		v.SetString(text)
	case v.Kind() == reflect.Bool:
		var b bool
		b, err = strconv.ParseBool(text)
		v.SetBool(b)
		want = "true or false"
	case v.CanInt():
		var n int64
		n, err = strconv.ParseInt(text, 10, bits)
		v.SetInt(n)
		want = fmt.Sprintf("a whole number from %d to %d", math.MinInt64>>(64-bits), math.MaxInt64>>(64-bits))
	case v.CanUint():
		var n uint64
		n, err = strconv.ParseUint(text, 10, bits)
		v.SetUint(n)
		want = fmt.Sprintf("a whole number from 0 to %d", uint64(math.MaxUint64)>>(64-bits))
	default: // floating point, the last of isScalar
		var n float64
		n, err = strconv.ParseFloat(text, bits)
		v.SetFloat(n)
		want = "a number"
		if errors.Is(err, strconv.ErrRange) {
			want += " in the range of " + v.Kind().String()
		}
	}
	if err != nil {
		return fmt.Errorf("must be %s", want)
	}
	return nil
}
