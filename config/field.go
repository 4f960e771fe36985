package config

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chassi-go/chassi/redact"
)

// field is one leaf of the struct.
type field struct {
	key    string // "http.addr"
	env    string // "AUTHD_HTTP_ADDR"
	value  reflect.Value
	tag    reflect.StructTag
	source string
}

func (f *field) secret() bool {
	return f.tag.Get("secret") == "true" || f.value.Type() == reflect.TypeFor[Secret]()
}

// masked reports whether the value may be, or hold, a secret.
func (f *field) masked() bool { return f.secret() || f.tag.Get("mask") != "" }

// mask returns text, which may be a value of f, as anybody may see it.
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

// holdsSecret reports whether there is a secret in the value.
func (f *field) holdsSecret() bool {
	if f.secret() {
		return f.value.String() != ""
	}
	text := fmt.Sprint(f.value.Interface())
	return f.mask(text) != text
}

// fieldsOf lists the leaves of the struct that v is.
func fieldsOf(v reflect.Value, prefix, program string) []*field {
	var list []*field
	for i := range v.NumField() {
		sf, word := v.Type().Field(i), v.Type().Field(i).Tag.Get("config")
		switch {
		case sf.Anonymous && sf.Type.Kind() == reflect.Struct:
			list = append(list, fieldsOf(v.Field(i), prefix, program)...)
		case sf.Type == reportType || word == "" || word == "-" || !sf.IsExported():
		case isLeaf(sf.Type):
			key := prefix + word
			list = append(list, &field{key: key, env: envName(program, key), value: v.Field(i), tag: sf.Tag, source: "default"})
		default:
			list = append(list, fieldsOf(v.Field(i), prefix+word+".", program)...)
		}
	}
	return list
}

var reportType = reflect.TypeFor[*Report]()

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

var textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()

func isLeaf(t reflect.Type) bool {
	return t.Kind() != reflect.Struct || reflect.PointerTo(t).Implements(textUnmarshaler)
}

func envName(program, key string) string {
	return strings.ToUpper(program + "_" + strings.ReplaceAll(key, ".", "_"))
}

// set parses text into the field. Its error says what is allowed.
func (f *field) set(text string) error {
	if f.value.Kind() == reflect.Slice && !reflect.PointerTo(f.value.Type()).Implements(textUnmarshaler) {
		var items []string
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				items = append(items, item)
			}
		}
		return f.setList(items)
	}
	if err := parse(f.value, text); err != nil {
		return err
	}
	return f.bounds(text)
}

func (f *field) setList(items []string) error {
	if f.value.Kind() != reflect.Slice {
		return errors.New("takes one value, not a list")
	}
	list := reflect.MakeSlice(f.value.Type(), len(items), len(items))
	for i, item := range items {
		if err := parse(list.Index(i), item); err != nil {
			return err
		}
	}
	f.value.Set(list)
	return nil
}

// parse reads text as v's type.
func parse(v reflect.Value, text string) error {
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		if err := u.UnmarshalText([]byte(text)); err != nil {
			return fmt.Errorf("is not valid: %w", err)
		}
		return nil
	}
	bits := 0
	if v.CanInt() || v.CanUint() || v.CanFloat() {
		bits = v.Type().Bits()
	}
	var err error
	want := v.Kind().String()
	switch {
	case v.Type() == reflect.TypeFor[time.Duration]():
		var d time.Duration
		d, err = time.ParseDuration(text)
		v.SetInt(int64(d))
		want = "a duration such as 500ms, 10s or 1h30m"
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
		want = "a whole number"
	case v.CanUint():
		var n uint64
		n, err = strconv.ParseUint(text, 10, bits)
		v.SetUint(n)
		want = "a whole number, not negative"
	case v.CanFloat():
		var n float64
		n, err = strconv.ParseFloat(text, bits)
		v.SetFloat(n)
		want = "a number"
	default:
		return fmt.Errorf("has a type that cannot be configured: %v", v.Type())
	}
	if err != nil {
		return fmt.Errorf("must be %s", want)
	}
	return nil
}

// bounds holds the value against the min, max and oneof tags.
func (f *field) bounds(text string) error {
	if allowed, ok := f.tag.Lookup("oneof"); ok && !slices.Contains(strings.Split(allowed, ","), text) {
		return fmt.Errorf("must be one of %s%s", strings.ReplaceAll(allowed, ",", ", "), suggest(text, strings.Split(allowed, ",")))
	}
	for tag, wrong := range map[string]int{"min": -1, "max": 1} {
		limit, ok := f.tag.Lookup(tag)
		if !ok {
			continue
		}
		bound := reflect.New(f.value.Type()).Elem()
		if err := parse(bound, limit); err != nil {
			return fmt.Errorf("has a broken %s tag: %w", tag, err)
		}
		if compare(f.value, bound) == wrong {
			return fmt.Errorf("must be at %s %s", map[string]string{"min": "least", "max": "most"}[tag], limit)
		}
	}
	return nil
}

func compare(a, b reflect.Value) int {
	switch {
	case a.CanInt():
		return cmp.Compare(a.Int(), b.Int())
	case a.CanUint():
		return cmp.Compare(a.Uint(), b.Uint())
	case a.CanFloat():
		return cmp.Compare(a.Float(), b.Float())
	default:
		return 0
	}
}

// suggest returns ", did you mean X?" for the nearest of names, if any is near.
func suggest(name string, names []string) string {
	best, distance := "", len(name)/3+2
	for _, candidate := range names {
		if d := editDistance(strings.ToLower(name), strings.ToLower(candidate)); d < distance {
			best, distance = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// editDistance is Levenshtein's, on bytes, of names cut to a sane length.
func editDistance(a, b string) int {
	a, b = a[:min(len(a), 100)], b[:min(len(b), 100)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
