package validation

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/chassi-go/chassi/schema/gotype"
)

// constKeyword is the JSON Schema keyword for a single permitted value.
const constKeyword = "const"

// comparison is the comparison of a value with a limit in rules such as min and gt.
type comparison struct {
	accepts func(order int) bool // order is negative, 0 or positive: the value compared with the limit
	words   string               // for messages: "at least "
	keyword string               // JSON Schema keyword for numbers; "" for const
}

var comparisons = map[string]comparison{
	"min": {func(o int) bool { return o >= 0 }, "at least ", "minimum"},
	"gte": {func(o int) bool { return o >= 0 }, "at least ", "minimum"},
	"gt":  {func(o int) bool { return o > 0 }, "more than ", "exclusiveMinimum"},
	"max": {func(o int) bool { return o <= 0 }, "at most ", "maximum"},
	"lte": {func(o int) bool { return o <= 0 }, "at most ", "maximum"},
	"lt":  {func(o int) bool { return o < 0 }, "less than ", "exclusiveMaximum"},
	"len": {func(o int) bool { return o == 0 }, "exactly ", ""},
	"eq":  {func(o int) bool { return o == 0 }, "exactly ", ""},
	"ne":  {func(o int) bool { return o != 0 }, "not exactly ", ""},
}

// newSize returns the rule for w, one of the words in comparisons, such as min or gt. The rule
// compares a number, a duration, a time, the length of a string or a []byte, or the number of
// elements of a slice or map with a limit. The words eq and ne compare strings and booleans
// themselves.
func newSize(w word, at *site) (rule, error) {
	c := comparisons[w.name]
	switch t := at.kind; {
	case t.Go.Kind() == reflect.String && (w.name == "eq" || w.name == "ne"):
		return newEqual(w.name == "eq", w.param, w.param, func(v reflect.Value) bool { return v.String() == w.param }), nil
	case t.Go.Kind() == reflect.String:
		return newCount(c, w, "character", [2]string{"minLength", "maxLength"}, func(v reflect.Value) int { return utf8.RuneCountInString(v.String()) })
	case t.Kind == gotype.Bool && t.Decode == gotype.Native && (w.name == "eq" || w.name == "ne"):
		want, err := strconv.ParseBool(w.param)
		if err != nil {
			return rule{}, errors.New("want true or false")
		}
		return newEqual(w.name == "eq", want, w.param, func(v reflect.Value) bool { return v.Bool() == want }), nil
	case t.Kind == gotype.Duration:
		return newDuration(c, w)
	case t.Kind == gotype.Time:
		return newMoment(c, w, at)
	case t.Decode != gotype.Native:
		return rule{}, refused(at, "a type without a method UnmarshalText or UnmarshalJSON")
	case t.Kind == gotype.Bytes && t.Go.Kind() == reflect.Slice:
		return newCount(c, w, "byte", [2]string{}, reflect.Value.Len)
	case t.Kind == gotype.List:
		return newCount(c, w, "item", [2]string{"minItems", "maxItems"}, reflect.Value.Len)
	case t.Kind == gotype.Map:
		return newCount(c, w, "entry", [2]string{"minProperties", "maxProperties"}, reflect.Value.Len)
	case t.Kind == gotype.Int:
		limit, err := strconv.ParseInt(w.param, 0, t.Go.Bits())
		return newNumber(c, limit, w.param, func(v reflect.Value) int { return cmp.Compare(v.Int(), limit) }), numberError(err, at)
	case t.Kind == gotype.Uint:
		limit, err := strconv.ParseUint(w.param, 0, t.Go.Bits())
		return newNumber(c, limit, w.param, func(v reflect.Value) int { return cmp.Compare(v.Uint(), limit) }), numberError(err, at)
	case t.Kind == gotype.Float:
		limit, err := strconv.ParseFloat(w.param, t.Go.Bits())
		if err == nil && limit-limit != 0 {
			err = strconv.ErrRange
		}
		asWritten, _ := strconv.ParseFloat(w.param, 64) // a float32 is nearly that
		r := newNumber(c, asWritten, w.param, func(v reflect.Value) int { return cmp.Compare(v.Float(), limit) })
		compare := r.test
		r.test = func(v, parent reflect.Value) bool { return !math.IsNaN(v.Float()) && compare(v, parent) }
		return r, numberError(err, at)
	default:
		return rule{}, refused(at, "a number, string, []byte, duration, time, slice or map")
	}
}

func numberError(err error, at *site) error {
	switch {
	case errors.Is(err, strconv.ErrRange):
		return fmt.Errorf("the parameter is out of the range of %v", at.kind.Go)
	case err != nil:
		return fmt.Errorf("want a number that %v can hold", at.kind.Go)
	default:
		return nil
	}
}

func newNumber(c comparison, limit any, text string, order func(reflect.Value) int) rule {
	r := rule{test: func(v, _ reflect.Value) bool { return c.accepts(order(v)) }}
	switch {
	case c.keyword != "":
		r.message, r.keywords = "must be "+c.words+text, map[string]any{c.keyword: limit}
	case c.accepts(0):
		r.message, r.keywords = "must be "+text, map[string]any{constKeyword: limit}
	default:
		r.message, r.keywords = "must not be "+text, map[string]any{"not": map[string]any{constKeyword: limit}}
	}
	return r
}

func newEqual(want bool, constant any, text string, equal func(reflect.Value) bool) rule {
	r := rule{test: func(v, _ reflect.Value) bool { return equal(v) == want }, keywords: map[string]any{constKeyword: constant}}
	r.message = "must be " + text
	if !want {
		r.message, r.keywords = "must not be "+text, map[string]any{"not": r.keywords}
	}
	return r
}

// newCount returns a rule that compares the number of units in a value, such as characters or
// items, with the parameter of w. keywords contains the JSON Schema keywords for the lower and the
// upper limit, or empty strings if there are no such keywords.
func newCount(c comparison, w word, unit string, keywords [2]string, count func(reflect.Value) int) (rule, error) {
	limit, err := strconv.ParseInt(w.param, 0, 32)
	lowest := int64(0)
	if w.name == "lt" {
		lowest = 1
	}
	if err != nil || limit < lowest {
		return rule{}, fmt.Errorf("want a number of %s from %d to %d", plural(2, unit), lowest, math.MaxInt32)
	}
	n := int(limit)
	r := rule{
		test:    func(v, _ reflect.Value) bool { return c.accepts(cmp.Compare(count(v), n)) },
		message: "must have " + c.words + strconv.Itoa(n) + " " + plural(n, unit),
	}
	if keywords[0] == "" {
		return r, nil
	}
	exactly := map[string]any{keywords[0]: n, keywords[1]: n}
	switch {
	case c.keyword == "minimum":
		r.keywords = map[string]any{keywords[0]: n}
	case c.keyword == "maximum":
		r.keywords = map[string]any{keywords[1]: n}
	case c.keyword == "exclusiveMinimum":
		r.keywords = map[string]any{keywords[0]: n + 1}
	case c.keyword == "exclusiveMaximum":
		r.keywords = map[string]any{keywords[1]: n - 1}
	case c.accepts(0):
		r.keywords = exactly
	default:
		r.keywords = map[string]any{"not": exactly}
	}
	return r, nil
}

func plural(n int, unit string) string {
	switch {
	case n == 1:
		return unit
	case unit == "entry":
		return "entries"
	default:
		return unit + "s"
	}
}

func newDuration(c comparison, w word) (rule, error) {
	limit, err := time.ParseDuration(w.param)
	if err != nil {
		return rule{}, errors.New("want a duration such as 1m30s")
	}
	r := newNumber(c, nil, limit.String(), func(v reflect.Value) int { return cmp.Compare(v.Int(), int64(limit)) })
	r.keywords = nil
	return r, nil
}

// newMoment returns a rule that compares a time with the current time. It returns an error if w is
// not gt, gte, lt or lte, or has a parameter.
func newMoment(c comparison, w word, at *site) (rule, error) {
	if w.param != "" || c.keyword == "" || w.name == "min" || w.name == "max" {
		return rule{}, refused(at, "gt, gte, lt or lte without a parameter, which compare with the present time")
	}
	r := rule{relative: true, message: "must be in the past", test: func(v, _ reflect.Value) bool { return c.accepts(timeOf(v).Compare(time.Now())) }}
	if c.accepts(1) {
		r.message = "must be in the future"
	}
	return r, nil
}

func timeOf(v reflect.Value) time.Time {
	if p, ok := reflect.TypeAssert[*time.Time](v.Addr()); ok { // no copy, no allocation
		return *p
	}
	return time.Time{}
}
