package schema

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/chassi-go/chassi/schema/gotype"
	"github.com/chassi-go/chassi/validation"
)

// rulesOf returns the descriptions of the rules in the validate tags of t, a struct, one for each
// field. A response is not validated: its descriptions contain only the lists of permitted values.
// If the tags of a request are invalid, an error is added to c.errs.
func (c *components) rulesOf(t *gotype.Type, d direction) []validation.Description {
	rules, err := validation.Describe(t.Go)
	switch {
	case err != nil && d == sent:
		c.errs = append(c.errs, fmt.Errorf("schema: %w", err))
		fallthrough
	case err != nil:
		return make([]validation.Description, len(t.Fields))
	case d == answered:
		for i := range rules {
			rules[i] = validation.Description{Keywords: enumIn(rules[i].Keywords)}
		}
	}
	return rules
}

// enumIn returns the keywords that list permitted values, or nil if there are none.
func enumIn(keywords object) object {
	if values, ok := keywords["enum"]; ok {
		return object{"enum": values}
	}
	if either, _ := keywords["anyOf"].([]any); len(either) == 2 {
		if other, _ := either[1].(object); other["enum"] != nil {
			return object{"anyOf": []any{either[0], object{"enum": other["enum"]}}}
		}
	}
	return nil
}

// ruled returns s with the constraints and notes of d added, and without the permission for null
// if d.Present is true. It may modify s.
func ruled(s object, d *validation.Description) object {
	s, null := withoutNull(s)
	maps.Copy(s, d.Keywords)
	if d.Elements != nil {
		for _, name := range []string{"items", "additionalProperties"} {
			if elements, ok := s[name].(object); ok {
				s[name] = ruled(elements, d.Elements)
			}
		}
	}
	if d.Keys != nil {
		names, ok := s["propertyNames"].(object)
		if !ok {
			names = object{"type": "string"}
		}
		s["propertyNames"] = ruled(names, d.Keys)
	}
	if len(d.Notes) > 0 {
		text, _ := s["description"].(string)
		s["description"] = strings.TrimSpace(text + " It " + strings.Join(d.Notes, ", and ") + ".")
	}
	if null && !d.Present {
		return nullable(s)
	}
	return s
}

// sentNull returns s, the schema of t, a type of lists, maps or bytes. In a request, the returned
// schema also permits null, which package strictjson decodes as nil, unless t is an array.
func sentNull(s object, t *gotype.Type, d direction) object {
	if d == sent && t.Go.Kind() != reflect.Array {
		return nullable(s)
	}
	return s
}

// annotations are the keywords that do not constrain a value.
var annotations = []string{"description", "examples"}

// nullable returns a schema that permits null in addition to the values of s. It may modify s.
func nullable(s object) object {
	constrained := false // by keywords that null does not meet
	for _, keyword := range []string{"const", "not", "anyOf", "allOf"} {
		constrained = constrained || s[keyword] != nil
	}
	kind, ok := s["type"].(string)
	if plain, null := withoutNull(maps.Clone(s)); null || len(plain) == 0 {
		return s
	}
	if !ok || constrained {
		either := make(object)
		for _, keyword := range annotations {
			if s[keyword] != nil {
				either[keyword] = s[keyword]
				delete(s, keyword)
			}
		}
		either["anyOf"] = []any{s, object{"type": "null"}}
		return either
	}
	s["type"] = []string{kind, "null"}
	if values, ok := s["enum"].([]any); ok {
		s["enum"] = append(slices.Clip(values), nil)
	}
	return s
}

// withoutNull returns s without the permission for null that [nullable] has added, and reports
// whether s had this permission. It may modify s.
func withoutNull(s object) (object, bool) {
	if types, ok := s["type"].([]string); ok {
		s["type"] = types[0]
		if values, ok := s["enum"].([]any); ok && values[len(values)-1] == nil {
			s["enum"] = values[:len(values)-1]
		}
		return s, true
	}
	either, _ := s["anyOf"].([]any)
	if len(either) != 2 {
		return s, false
	}
	first, _ := either[0].(object)
	if last, _ := either[1].(object); last["type"] != "null" {
		return s, false
	}
	for _, keyword := range annotations {
		if s[keyword] != nil {
			first[keyword] = s[keyword]
		}
	}
	return first, true
}
