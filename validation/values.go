package validation

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/chassi-go/chassi/schema/gotype"
)

// values matches one value in the parameter of oneof or noneof: a word, or text in single quotes.
var values = regexp.MustCompile(`'[^']*'|\S+`)

// newOneOf returns the rule for oneof or noneof. The parameter is a list of values. oneof accepts a
// string or an integer that is in the list, and noneof accepts one that is not.
func newOneOf(w word, at *site) (rule, error) {
	list := values.FindAllString(w.param, -1)
	if len(list) == 0 {
		return rule{}, errors.New("want values separated by spaces")
	}
	for i := range list {
		list[i] = strings.ReplaceAll(list[i], "'", "")
	}
	var has func(reflect.Value) bool
	var enum []any
	var err error
	switch t := at.kind; {
	case t.Go.Kind() == reflect.String && t.Decode != gotype.JSON:
		has = func(v reflect.Value) bool { return slices.Contains(list, v.String()) }
		for _, text := range list {
			enum = append(enum, text)
		}
	case t.Decode != gotype.Native:
		return rule{}, refused(at, "a string or an integer")
	case t.Kind == gotype.Int:
		var numbers []int64
		numbers, enum, err = parseAll(list, func(s string) (int64, error) { return strconv.ParseInt(s, 10, t.Go.Bits()) })
		has = func(v reflect.Value) bool { return slices.Contains(numbers, v.Int()) }
	case t.Kind == gotype.Uint:
		var numbers []uint64
		numbers, enum, err = parseAll(list, func(s string) (uint64, error) { return strconv.ParseUint(s, 10, t.Go.Bits()) })
		has = func(v reflect.Value) bool { return slices.Contains(numbers, v.Uint()) }
	default:
		return rule{}, refused(at, "a string or an integer")
	}
	if err != nil {
		return rule{}, fmt.Errorf("want numbers that %v can hold", at.kind.Go)
	}
	want, message, keywords := true, "must be one of ", map[string]any{"enum": enum}
	if w.name == "noneof" {
		want, message, keywords = false, "must not be one of ", map[string]any{"not": keywords}
	}
	test := func(v, _ reflect.Value) bool { return has(v) == want }
	return rule{test: test, message: message + strings.Join(list, ", "), keywords: keywords}, nil
}

func parseAll[T any](list []string, parse func(string) (T, error)) (numbers []T, enum []any, err error) {
	for _, text := range list {
		n, err := parse(text)
		if err != nil {
			return nil, nil, err
		}
		numbers, enum = append(numbers, n), append(enum, n)
	}
	return numbers, enum, nil
}

// newUnique returns the rule for unique, which accepts a slice, array or map if its elements are
// distinct.
func newUnique(w word, at *site) (rule, error) {
	if w.param != "" {
		return rule{}, errors.New("must not have a parameter")
	}
	t := at.kind
	if t.Kind != gotype.List && t.Kind != gotype.Array && t.Kind != gotype.Map || !isScalar(t.Elem) {
		return rule{}, refused(at, "a slice, array or map of strings, numbers, durations or bools without a method UnmarshalText or UnmarshalJSON")
	}
	if t.Kind == gotype.Map {
		return rule{test: func(v, _ reflect.Value) bool { return uniqueInMap(v) }, message: "must not have a value twice"}, nil
	}
	return rule{
		test: func(v, _ reflect.Value) bool { return uniqueInList(v) }, message: "must not have an item twice",
		keywords: map[string]any{"uniqueItems": true},
	}, nil
}

func isScalar(t *gotype.Type) bool {
	switch t.Kind {
	case gotype.Bool, gotype.Int, gotype.Uint, gotype.Float, gotype.String, gotype.Duration:
		return t.Decode == gotype.Native
	default:
		return false
	}
}

// fewItems is the maximum number of elements for which comparing all pairs is faster than a map.
const fewItems = 16

func uniqueInList(v reflect.Value) bool {
	n := v.Len()
	if n > fewItems {
		seen := make(map[any]struct{}, n)
		for i := range n {
			seen[v.Index(i).Interface()] = struct{}{}
		}
		return len(seen) == n
	}
	for i := range n {
		for j := range i {
			if v.Index(i).Equal(v.Index(j)) {
				return false
			}
		}
	}
	return true
}

func uniqueInMap(v reflect.Value) bool {
	seen := make(map[any]struct{}, v.Len())
	for _, value := range v.Seq2() {
		seen[value.Interface()] = struct{}{}
	}
	return len(seen) == v.Len()
}

// newFieldRule returns a rule that compares a field with another field of the same struct. It
// returns an error if the site is not a field, if the struct does not declare the other field, or
// if the two fields cannot be compared.
func newFieldRule(w word, at *site) (rule, error) {
	if at.parent == nil {
		return rule{}, errors.New("cannot apply to an element or a key: want a field of a struct")
	}
	other, ok := at.parent.FieldByName(w.param)
	if !ok || len(other.Index) > 1 {
		return rule{}, fmt.Errorf("%v declares no field %q", at.parent, w.param)
	}
	t := other.Type
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t != at.kind.Go {
		return rule{}, fmt.Errorf("field %s has the type %v, want %v", w.param, t, at.kind.Go)
	}
	order := orderOf(at.kind)
	equality := w.name == "eqfield" || w.name == "nefield"
	if order == nil && (!equality || !isScalar(at.kind) && t.Kind() != reflect.String) {
		return rule{}, refused(at, "numbers, times or durations, and for eqfield and nefield strings and bools")
	}
	if order == nil {
		order = func(a, b reflect.Value) int {
			if a.Equal(b) {
				return 0
			}
			return 1
		}
	}
	name := nameIn(at.parent, other, at.names)
	c := fieldComparisons[w.name]
	return rule{relative: true, message: c.words + name, test: func(v, parent reflect.Value) bool {
		sibling := parent.FieldByIndex(other.Index)
		for sibling.Kind() == reflect.Pointer {
			if sibling.IsNil() {
				return w.name == "nefield"
			}
			sibling = sibling.Elem()
		}
		return c.accepts(order(v, sibling))
	}}, nil
}

var fieldComparisons = map[string]comparison{
	"eqfield":  {accepts: comparisons["eq"].accepts, words: "must equal "},
	"nefield":  {accepts: comparisons["ne"].accepts, words: "must differ from "},
	"gtfield":  {accepts: comparisons["gt"].accepts, words: "must be greater than "},
	"gtefield": {accepts: comparisons["gte"].accepts, words: "must not be less than "},
	"ltfield":  {accepts: comparisons["lt"].accepts, words: "must be less than "},
	"ltefield": {accepts: comparisons["lte"].accepts, words: "must not be greater than "},
}

// orderOf returns a function that compares two values of t, or nil if the rules do not order values
// of t, such as strings.
func orderOf(t *gotype.Type) func(a, b reflect.Value) int {
	switch {
	case t.Kind == gotype.Time:
		return func(a, b reflect.Value) int { return timeOf(a).Compare(timeOf(b)) }
	case t.Decode != gotype.Native:
		return nil
	case t.Kind == gotype.Int, t.Kind == gotype.Duration:
		return func(a, b reflect.Value) int { return cmp.Compare(a.Int(), b.Int()) }
	case t.Kind == gotype.Uint:
		return func(a, b reflect.Value) int { return cmp.Compare(a.Uint(), b.Uint()) }
	case t.Kind == gotype.Float:
		return func(a, b reflect.Value) int { return cmp.Compare(a.Float(), b.Float()) }
	default:
		return nil
	}
}

// nameIn returns the name that clients use for f, a field of parent.
func nameIn(parent reflect.Type, f reflect.StructField, names Names) string {
	if t, err := gotype.Of(parent); err == nil {
		for i := range t.Fields {
			if slices.Equal(t.Fields[i].Index, f.Index) {
				return names.of(&t.Fields[i])
			}
		}
	}
	return f.Name
}
