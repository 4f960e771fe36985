package validation

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/chassi-go/chassi/schema/gotype"
)

// Description describes the rules of a value in terms of JSON Schema.
type Description struct {
	// Present reports whether a field must be sent, or an element must not be null, because the
	// zero value is invalid.
	Present bool
	// Keywords are the JSON Schema keywords that express the rules, in addition to the keywords
	// of the type; nil if there are none.
	Keywords map[string]any
	// Notes describe the rules that no keyword expresses completely, such as "must be greater than
	// starts_at".
	Notes []string
	// Keys and Elements describe the rules of the keys and elements of a container; nil if there
	// are none.
	Keys, Elements *Description
}

// Describe returns the descriptions of the fields of t, a struct type: one for each element of
// Fields in the [gotype.Type] of t. It returns an error if [New] returns an error for t.
func Describe(t reflect.Type) ([]Description, error) {
	c, err := New(t, Parameters)
	if err != nil {
		return nil, err
	}
	described, err := gotype.Of(t)
	if err != nil {
		return nil, fmt.Errorf("validation: %w", err)
	}
	list := make([]Description, len(described.Fields))
	for _, f := range c.plan.fields {
		i := slices.IndexFunc(described.Fields, func(d gotype.Field) bool { return slices.Equal(d.Index, f.index) })
		declared := &described.Fields[i]
		list[i] = *f.node.describe(declared.Type, declared.Quoted)
	}
	return list, nil
}

// refusesZero reports whether the zero value of t, which an absent value has, violates a rule. It
// ignores the methods Validate and relative rules.
func (n *node) refusesZero(t reflect.Type) bool {
	w := walk{quiet: true, fixed: true}
	n.check(&w, reflect.New(t).Elem(), reflect.Value{})
	return w.total > 0
}

func (n *node) describe(t *gotype.Type, quoted bool) *Description {
	d := &Description{Present: n.refusesZero(t.Go)}
	var all []map[string]any
	for _, r := range n.rules {
		if r.keywords == nil || r.partial {
			d.Notes = append(d.Notes, r.message)
		}
		if r.keywords != nil {
			all = append(all, r.keywords)
		}
	}
	pointer, target := t.Kind == gotype.Pointer, t.Indirect()
	native := target.Decode == gotype.Native && !quoted
	if n.required && !pointer && !n.rulesRefuse(target.Go) {
		if keywords := notEmpty(target); native && keywords != nil {
			all = append(all, keywords)
		} else {
			d.Notes = append(d.Notes, "must not be empty")
		}
	}
	d.Keywords = merge(all)
	if n.omitEmpty && !pointer && d.Keywords != nil {
		d.Keywords = map[string]any{"anyOf": []any{empty(target), d.Keywords}}
	}
	if n.elem != nil {
		d.Elements = n.elem.describe(target.Elem, false)
	}
	if n.key != nil {
		d.Keys = n.key.describe(target.Key, false)
	}
	return d
}

// rulesRefuse reports whether the zero value of t violates a rule that keywords express.
func (n *node) rulesRefuse(t reflect.Type) bool {
	zero := reflect.New(t).Elem()
	for _, r := range n.rules {
		if r.keywords != nil && !r.relative && !r.test(zero, reflect.Value{}) {
			return true
		}
	}
	return false
}

// merge returns the conjunction of all sets of keywords, or nil if there are none.
func merge(all []map[string]any) map[string]any {
	if len(all) == 0 {
		return nil
	}
	merged := make(map[string]any)
	var others []any
	for _, keywords := range all {
		rest := make(map[string]any)
		for name, value := range keywords {
			if _, taken := merged[name]; taken || name == "anyOf" {
				rest[name] = value
			} else {
				merged[name] = value
			}
		}
		if len(rest) > 0 {
			others = append(others, rest)
		}
	}
	switch {
	case len(others) == 0:
		return merged
	case len(merged) == 0 && len(others) == 1:
		return others[0].(map[string]any) //nolint:forcetypeassert // made above
	default:
		merged["allOf"] = others
		return merged
	}
}

// empty returns keywords that match exactly the empty values of t.
func empty(t *gotype.Type) map[string]any {
	switch t.Kind {
	case gotype.String, gotype.Bytes:
		return map[string]any{"maxLength": 0}
	case gotype.List:
		return map[string]any{"maxItems": 0}
	case gotype.Map:
		return map[string]any{"maxProperties": 0}
	case gotype.Bool:
		return map[string]any{constKeyword: false}
	default:
		return map[string]any{constKeyword: 0}
	}
}

// notEmpty returns keywords that match exactly those values of t that are not empty, or nil if
// there are no such keywords.
func notEmpty(t *gotype.Type) map[string]any {
	switch t.Kind {
	case gotype.String, gotype.Bytes:
		return map[string]any{"minLength": 1}
	case gotype.List:
		return map[string]any{"minItems": 1}
	case gotype.Map:
		return map[string]any{"minProperties": 1}
	case gotype.Bool:
		return map[string]any{constKeyword: true}
	case gotype.Int, gotype.Uint, gotype.Float:
		return map[string]any{"not": map[string]any{constKeyword: 0}}
	default:
		return nil
	}
}
