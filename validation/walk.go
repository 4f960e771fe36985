package validation

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/safetext"
)

const (
	maxViolations = 32      // violations in one response
	maxPath       = 200     // bytes of a field's path
	maxMessage    = 300     // bytes of a message
	maxResponse   = 4 << 10 // bytes of all paths and messages
	maxDepth      = 1000    // levels of nested structs, for a value that contains itself
)

// walk is the state of the validation of one request.
type walk struct {
	bad    []chassi.Violation // the fields are relative to the current value
	total  int                // number of violations, including those beyond maxViolations
	depth  int
	quiet  bool          // whether to skip the methods Validate
	fixed  bool          // whether to skip relative rules
	plain  bool          // whether a violation is not from a chassi.InvalidArgument
	own    *chassi.Error // the first chassi.InvalidArgument that a method Validate returned
	failed error         // the first error of a method Validate that is not about the request
}

// add adds a violation of the current value.
func (w *walk) add(message string) {
	w.plain = true
	w.append("", message)
}

func (w *walk) append(field, message string) {
	if w.total++; len(w.bad) < maxViolations {
		w.bad = append(w.bad, chassi.Violation{Field: field, Message: safetext.Clip(message, maxMessage)})
	}
}

// within prefixes the paths of the violations in w.bad[before:] with name, which is the name of the
// value that contains the invalid values.
func (w *walk) within(before int, name string) {
	for i := before; i < len(w.bad); i++ {
		v := &w.bad[i]
		if v.Field != "" && !strings.HasPrefix(v.Field, "[") {
			v.Field = "." + v.Field
		}
		v.Field = safetext.Clip(name+strings.TrimSuffix(v.Field, "…"), maxPath)
	}
}

func (p *plan) check(w *walk, v reflect.Value) {
	if w.depth == maxDepth {
		w.add("nests deeper than " + strconv.Itoa(maxDepth) + " levels")
		return
	}
	w.depth++
	total := w.total
	for i := range p.fields {
		f := &p.fields[i]
		before := len(w.bad)
		f.check(w, v)
		if len(w.bad) > before {
			w.within(before, f.name)
		}
	}
	if p.validates && total == w.total && !w.quiet && p.callable(v) {
		w.validate(v)
	}
	w.depth--
}

// callable reports whether the method Validate of v can be called. The method cannot be called if
// an embedded pointer or interface that promotes it is nil.
func (p *plan) callable(v reflect.Value) bool {
	for _, i := range p.promotion {
		switch v = v.Field(i); v.Kind() {
		case reflect.Pointer:
			if v.IsNil() {
				return false
			}
			v = v.Elem()
		case reflect.Interface:
			return !v.IsNil()
		}
	}
	return true
}

// check checks the field f of v, a struct.
func (f *field) check(w *walk, v reflect.Value) {
	last := len(f.index) - 1
	for _, i := range f.index[:last] {
		if v = v.Field(i); v.Kind() != reflect.Pointer {
			continue
		}
		if v.IsNil() {
			quiet := w.quiet
			w.quiet = true
			f.node.check(w, f.zero.Field(f.index[last]), f.zero)
			w.quiet = quiet
			return
		}
		v = v.Elem()
	}
	f.node.check(w, v.Field(f.index[last]), v)
}

// check checks v. parent is the struct of which v is a field, or the zero Value if v is an element
// or a key.
func (n *node) check(w *walk, v, parent reflect.Value) {
	present := false
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			if n.required || len(n.rules) > 0 && !n.omitEmpty {
				w.add("is required")
			}
			return
		}
		v, present = v.Elem(), true
	}
	total := w.total
	if !present && (n.required || n.omitEmpty) && isEmpty(v) {
		n.checkEmpty(w, v, parent)
		return
	}
	n.apply(w, v, parent)
	switch {
	case n.inner != nil:
		n.inner.check(w, v)
	case n.elem == nil && n.key == nil:
	case v.Kind() == reflect.Map:
		n.checkMap(w, v)
	default:
		n.checkList(w, v)
	}
	if n.validates && total == w.total && !w.quiet {
		w.validate(v)
	}
}

// checkEmpty adds violations for v, which is empty, if n requires a value: one for each violated
// rule if n.anyway is true and v violates a rule, or else one with the message n.missing.
func (n *node) checkEmpty(w *walk, v, parent reflect.Value) {
	if !n.required {
		return
	}
	total := w.total
	if n.anyway {
		n.apply(w, v, parent)
	}
	if total == w.total {
		w.add(n.missing)
	}
}

func (n *node) apply(w *walk, v, parent reflect.Value) {
	for i := range n.rules {
		if r := &n.rules[i]; (!w.fixed || !r.relative) && !r.test(v, parent) {
			w.add(r.message)
		}
	}
}

// isEmpty reports whether v is zero, or is a slice or a map without elements. Not every transport
// can distinguish such a slice or map from nil.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	case reflect.Float32, reflect.Float64:
		return v.Float() == 0
	default:
		return v.IsZero()
	}
}

func (n *node) checkList(w *walk, v reflect.Value) {
	for i := range v.Len() {
		before := len(w.bad)
		n.elem.check(w, v.Index(i), reflect.Value{})
		if len(w.bad) > before {
			w.within(before, "["+strconv.Itoa(i)+"]")
		}
	}
}

// checkMap checks the keys and elements of a map. It copies them into addressable values, so
// that their methods can be called, and sorts the violations by path.
func (n *node) checkMap(w *walk, v reflect.Value) {
	if v.Len() == 0 {
		return
	}
	first := len(w.bad)
	key := reflect.New(v.Type().Key()).Elem()
	elem := reflect.New(v.Type().Elem()).Elem()
	for entries := v.MapRange(); entries.Next(); {
		before := len(w.bad)
		key.SetIterKey(entries)
		if n.key != nil {
			n.key.check(w, key, reflect.Value{})
			for i := before; i < len(w.bad); i++ {
				w.bad[i].Message = "has a name that " + w.bad[i].Message
			}
		}
		if n.elem != nil {
			elem.SetIterValue(entries)
			n.elem.check(w, elem, reflect.Value{})
		}
		if len(w.bad) > before {
			w.within(before, "["+nameOf(key)+"]")
		}
	}
	slices.SortStableFunc(w.bad[first:], func(a, b chassi.Violation) int { return strings.Compare(a.Field, b.Field) })
}

// nameOf returns the form of a map key in the path of a field: "k" in labels["k"], 5 in counts[5].
func nameOf(key reflect.Value) string {
	if key.Kind() == reflect.String {
		return strconv.Quote(safetext.Clip(key.String(), safetext.MaxName))
	}
	return safetext.Clip(fmt.Sprint(key.Interface()), safetext.MaxName)
}
