package schema

import (
	"encoding/base64"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/chassi-go/chassi/schema/gotype"
	"github.com/chassi-go/chassi/validation"
)

// Regular expressions for numbers and durations that are encoded as strings.
const (
	integerPattern  = `^(0|-?[1-9][0-9]*)$`
	numberPattern   = `^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`
	durationPattern = `^-?[0-9]{1,10}(\.[0-9]{1,9})?s$`
)

// schemaOf returns the schema of t in the form that package strictjson decodes from a request or
// encodes in a response, depending on d.
func (c *components) schemaOf(t *gotype.Type, d direction) object {
	if loopsBack(t) {
		return c.refer(variant{Named: gotype.Named{Type: t.Go}, direction: d}, func() object { return c.inline(t, d) })
	}
	return c.inline(t, d)
}

func (c *components) inline(t *gotype.Type, d direction) object {
	switch form(t, d) {
	case gotype.JSON:
		return object{}
	case gotype.Text:
		return object{"type": "string"}
	case gotype.Native:
	}
	switch t.Kind {
	case gotype.Bool:
		return object{"type": "boolean"}
	case gotype.Int, gotype.Uint, gotype.Float:
		return number(t)
	case gotype.String:
		return object{"type": "string"}
	case gotype.Bytes:
		return sentNull(bytesSchema(t), t, d)
	case gotype.Time:
		return object{"type": "string", "format": "date-time"}
	case gotype.Duration:
		return object{"type": "string", "pattern": durationPattern, "description": "A duration in seconds, such as 1.5s."}
	case gotype.Pointer:
		return nullable(c.schemaOf(t.Elem, d))
	case gotype.List:
		return sentNull(object{"type": "array", "items": c.schemaOf(t.Elem, d)}, t, d)
	case gotype.Array:
		return object{"type": "array", "items": c.schemaOf(t.Elem, d), "minItems": t.Len, "maxItems": t.Len}
	case gotype.Map:
		s := object{"type": "object", "additionalProperties": c.schemaOf(t.Elem, d)}
		if names := memberNames(t.Key, d); names != nil {
			s["propertyNames"] = names
		}
		return sentNull(s, t, d)
	case gotype.Struct:
		v := variant{Named: gotype.Named{Type: t.Go}, direction: d}
		if t.Go.Name() == "" {
			return c.structSchema(t, v)
		}
		return c.refer(v, func() object { return c.structSchema(t, v) })
	case gotype.Any, gotype.Opaque:
	}
	return object{}
}

func form(t *gotype.Type, d direction) gotype.Form {
	if d == sent {
		return t.Decode
	}
	return t.Encode
}

// number returns the schema of t, an integer or a floating-point type. The formats are those of the
// OpenAPI format registry.
func number(t *gotype.Type) object {
	bits := t.Go.Bits()
	switch {
	case t.Enum != nil:
		return enumSchema(t.Enum)
	case t.Kind == gotype.Float && bits == 32:
		return object{"type": "number", "format": "float"}
	case t.Kind == gotype.Float:
		return object{"type": "number", "format": "double"}
	case t.Kind == gotype.Uint && bits == 64:
		return object{"type": "integer", "format": "uint64", "minimum": 0}
	case t.Kind == gotype.Uint:
		return object{"type": "integer", "format": "uint" + strconv.Itoa(bits), "minimum": 0, "maximum": int64(1)<<bits - 1}
	case bits == 64:
		return object{"type": "integer", "format": "int64"}
	default:
		return object{"type": "integer", "format": "int" + strconv.Itoa(bits), "minimum": -(int64(1) << (bits - 1)), "maximum": int64(1)<<(bits-1) - 1}
	}
}

func enumSchema(names map[int32]string) object {
	var values []any
	var lines []string
	for _, v := range slices.Sorted(maps.Keys(names)) {
		values = append(values, v)
		lines = append(lines, fmt.Sprintf("%d is %s", v, names[v]))
	}
	return object{"type": "integer", "enum": values, "description": strings.Join(lines, ", ")}
}

// quoted returns the schema of a number of type t that is encoded as a string.
func quoted(t *gotype.Type) object {
	s := number(t)
	if values, ok := s["enum"].([]any); ok {
		texts := make([]any, len(values))
		for i, v := range values {
			texts[i] = fmt.Sprint(v)
		}
		return object{"type": "string", "enum": texts, "description": s["description"]}
	}
	if t.Kind == gotype.Float {
		return object{"type": "string", "pattern": numberPattern, "format": s["format"]}
	}
	return object{"type": "string", "pattern": integerPattern, "format": s["format"]}
}

// memberNames returns the schema of the member names of a map with keys of type key, or nil if no
// constraint on the names is known.
func memberNames(key *gotype.Type, d direction) object {
	if form(key, d) != gotype.Native {
		return nil
	}
	switch key.Kind {
	case gotype.Int, gotype.Uint, gotype.Float:
		return quoted(key)
	case gotype.Time:
		return object{"type": "string", "format": "date-time"}
	case gotype.Duration:
		return object{"type": "string", "pattern": durationPattern}
	default:
		return nil
	}
}

func bytesSchema(t *gotype.Type) object {
	s := object{"type": "string", "contentEncoding": "base64"}
	if t.Go.Kind() == reflect.Array { // of one length, which the padding tells
		text := base64.StdEncoding.EncodeToString(make([]byte, t.Len))
		digits := strings.TrimRight(text, "=")
		s["pattern"] = fmt.Sprintf("^[A-Za-z0-9+/]{%d}%s$", len(digits), text[len(digits):])
	}
	return s
}

func (c *components) structSchema(t *gotype.Type, v variant) object {
	s := object{"type": "object"}
	properties, required := make(object), []string{}
	rules := c.rulesOf(t, v.direction)
	for i := range t.Fields {
		f := &t.Fields[i]
		if f.JSON == "" || f.Type.Kind == gotype.File || v.body && inHTTP(f, v.direction) {
			continue
		}
		properties[f.JSON] = c.fieldSchema(f, v.direction, &rules[i])
		if v.direction == sent && rules[i].Present || v.direction == answered && !f.Omits() {
			required = append(required, f.JSON)
		}
	}
	s["properties"] = properties
	if len(required) > 0 {
		slices.Sort(required)
		s["required"] = required
	}
	switch {
	case t.Rest != nil:
		s["additionalProperties"] = c.schemaOf(t.Rest, v.direction)
	case v.direction == sent:
		s["additionalProperties"] = false
	}
	return s
}

// inHTTP reports whether HTTP carries f outside of the body of a message of direction d. It returns
// false for a cookie or a status of a response, which is never a member in JSON.
func inHTTP(f *gotype.Field, d direction) bool {
	return f.Source != "" && (d == sent || f.Source == "header")
}

// fieldSchema returns the schema of f: the schema of its type with the constraints of rules, the
// description from its tag doc, and the example from its tag example.
func (c *components) fieldSchema(f *gotype.Field, d direction, rules *validation.Description) object {
	s := c.schemaOf(f.Type, d)
	inner := f.Type.Indirect()
	if isNumber := inner.Kind == gotype.Int || inner.Kind == gotype.Uint || inner.Kind == gotype.Float; f.Quoted && isNumber && form(inner, d) == gotype.Native {
		if s = quoted(inner); f.Type != inner {
			s = nullable(s)
		}
	}
	if text := f.Tag.Get("doc"); text != "" {
		s["description"] = text
	}
	if text, ok := f.Tag.Lookup("example"); ok {
		s["examples"] = []any{valueOf(f, text)}
	}
	return ruled(s, rules)
}

// valueOf returns text, the content of a tag, as a value of the type that f has in JSON: a boolean,
// a number or, in all other cases, a string.
func valueOf(f *gotype.Field, text string) any {
	t := f.Type.Indirect()
	if f.Quoted || t.Encode != gotype.Native {
		return text
	}
	switch t.Kind {
	case gotype.Bool:
		return text == "true"
	case gotype.Int, gotype.Uint, gotype.Float:
		if n, err := strconv.ParseFloat(text, 64); err == nil {
			return n
		}
	}
	return text
}
