package validation

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/chassi-go/chassi/schema/gotype"
)

// rule is one rule of a tag, compiled for the values at a site.
type rule struct {
	test    func(v, parent reflect.Value) bool // v is not a pointer; parent is the struct with the field
	message string                             // the requirement: "must be at least 18"

	// keywords are the JSON Schema keywords that express the rule; nil if there are none.
	keywords map[string]any
	// partial reports whether keywords are weaker than the rule.
	partial bool
	// relative reports whether the rule depends on the current time or on another field.
	relative bool
}

// site describes the values to which a rule applies.
type site struct {
	kind   *gotype.Type
	parent reflect.Type // the struct that declares the field; nil for an element or a key
	quoted bool         // whether numbers are encoded as strings
	names  Names
}

// maker compiles a word into a rule for the values at a site. It returns an error if the rule
// cannot apply to these values, or if its parameter is invalid.
type maker func(w word, at *site) (rule, error)

// makers maps the names of rules to their makers. The documentation of the package lists the rules.
var makers = withTexts(map[string]maker{
	"min": newSize, "max": newSize, "len": newSize, "eq": newSize, "ne": newSize, "gt": newSize, "gte": newSize, "lt": newSize, "lte": newSize,
	"oneof": newOneOf, "noneof": newOneOf,
	"unique":  newUnique,
	"eqfield": newFieldRule, "nefield": newFieldRule, "gtfield": newFieldRule, "gtefield": newFieldRule, "ltfield": newFieldRule, "ltefield": newFieldRule,
})

func withTexts(all map[string]maker) map[string]maker {
	for name := range texts {
		all[name] = newText
	}
	return all
}

// newRules compiles the rules of t, one scope of a tag, for the values at a site.
func newRules(t *tag, at *site) ([]rule, error) {
	var rules []rule
	for _, alternatives := range t.rules {
		var all []rule
		for _, w := range alternatives {
			r, err := newRule(w, at)
			if err != nil {
				return nil, err
			}
			all = append(all, r)
		}
		rules = append(rules, either(all))
	}
	return rules, nil
}

func newRule(w word, at *site) (rule, error) {
	maker := makers[w.name]
	if maker == nil {
		return rule{}, fmt.Errorf("rule %s is unknown%s", w.name, hint(w.name))
	}
	r, err := maker(w, at)
	if err != nil {
		return rule{}, fmt.Errorf("rule %s: %w", w, err)
	}
	if at.quoted || at.kind.Decode != gotype.Native {
		r.keywords = nil // they would apply to the text
	}
	return r, nil
}

// hint returns the last part of the error for name, an unknown rule: advice on what to use
// instead.
func hint(name string) string {
	switch {
	case strings.HasPrefix(name, "minlength"), strings.HasPrefix(name, "minitems"):
		return ": want min"
	case strings.HasPrefix(name, "maxlength"), strings.HasPrefix(name, "maxitems"):
		return ": want max"
	case name == "omitnil":
		return ": want omitempty"
	default:
		return ": package validation lists the rules; for other requirements, declare a method Validate() error"
	}
}

// refused returns the error for a rule that cannot apply to the values at a site. want describes
// the values to which the rule can apply.
func refused(at *site, want string) error {
	return fmt.Errorf("cannot apply to %v: want %s", at.kind.Go, want)
}

// either returns a rule that accepts a value if at least one rule in all accepts the value.
func either(all []rule) rule {
	if len(all) == 1 {
		return all[0]
	}
	var messages []string
	var anyOf []any
	whole := rule{test: func(v, parent reflect.Value) bool {
		for i := range all {
			if all[i].test(v, parent) {
				return true
			}
		}
		return false
	}}
	for _, r := range all {
		messages = append(messages, r.message)
		whole.relative = whole.relative || r.relative
		whole.partial = whole.partial || r.partial
		if r.keywords != nil {
			anyOf = append(anyOf, r.keywords)
		}
	}
	whole.message = strings.Join(messages, ", or ")
	if len(anyOf) == len(all) {
		whole.keywords = map[string]any{"anyOf": anyOf}
	}
	return whole
}
