package schema

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// components collects the schemas of named structs. The same struct may have two:
// what is sent must have what is required and nothing unknown, what is answered
// has all its members.
type components struct {
	schemas object
	types   map[string]reflect.Type
	err     error
}

func newComponents() *components {
	return &components{schemas: make(object), types: make(map[string]reflect.Type)}
}

// direction tells whether a message is sent or answered.
type direction bool

const (
	sent     direction = true
	answered direction = false
)

var (
	timeType       = reflect.TypeFor[time.Time]()
	durationType   = reflect.TypeFor[time.Duration]()
	textType       = reflect.TypeFor[encoding.TextMarshaler]()
	enumInterface  = reflect.TypeFor[interface{ EnumNames() map[int32]string }]()
	integerFormats = map[reflect.Kind]string{
		reflect.Int: "int64", reflect.Int64: "int64", reflect.Int8: "int32", reflect.Int16: "int32", reflect.Int32: "int32",
		reflect.Uint: "int64", reflect.Uint64: "int64", reflect.Uint8: "int32", reflect.Uint16: "int32", reflect.Uint32: "int64",
	}
)

// schemaOf describes a type as JSON.
func (c *components) schemaOf(t reflect.Type, d direction) object {
	switch {
	case t == timeType:
		return object{"type": "string", "format": "date-time"}
	case t == durationType:
		return object{"type": "string", "description": "a duration in seconds, such as 1.5s"}
	case t.Kind() != reflect.Pointer && (t.Implements(textType) || reflect.PointerTo(t).Implements(textType)):
		return object{"type": "string"}
	case t.Implements(enumInterface) && t.Kind() != reflect.Pointer:
		return enumSchema(t)
	}
	switch t.Kind() {
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return object{"type": "integer", "format": integerFormats[t.Kind()]}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer", "format": integerFormats[t.Kind()], "minimum": 0}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Pointer:
		return nullable(c.schemaOf(t.Elem(), d))
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": "string", "contentEncoding": "base64"}
		}
		return object{"type": "array", "items": c.schemaOf(t.Elem(), d)}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": c.schemaOf(t.Elem(), d)}
	case reflect.Struct:
		return object{"$ref": "#/components/schemas/" + c.structOf(t, "", d)}
	case reflect.Interface:
		return object{}
	default:
		c.err = fmt.Errorf("schema: %v cannot be JSON", t)
		return object{}
	}
}

func enumSchema(t reflect.Type) object {
	names := reflect.Zero(t).Interface().(interface{ EnumNames() map[int32]string }).EnumNames()
	var values []any
	var lines []string
	for _, v := range slices.Sorted(maps.Keys(names)) {
		values = append(values, v)
		lines = append(lines, fmt.Sprintf("%d is %s", v, names[v]))
	}
	return object{"type": "integer", "enum": values, "description": strings.Join(lines, ", ")}
}

func nullable(s object) object {
	if name, ok := s["type"].(string); ok {
		s["type"] = []string{name, "null"}
		return s
	}
	return object{"anyOf": []any{s, object{"type": "null"}}}
}

// structOf registers a struct and returns its name. One without a name of its own
// gets otherwise.
func (c *components) structOf(t reflect.Type, otherwise string, d direction) string {
	name := componentName(t, otherwise)
	if d == sent && !strings.HasSuffix(name, "Request") && c.types[name] != nil {
		name += "Input"
	}
	if d == answered && c.types[name] == t && c.schemas[name].(object)["additionalProperties"] != nil {
		name += "Output"
	}
	if other := c.types[name]; other != nil {
		if other != t {
			c.err = fmt.Errorf("schema: types %v and %v would both be %s: rename one", other, t, name)
		}
		return name
	}
	s := object{"type": "object"}
	c.types[name], c.schemas[name] = t, s
	properties, required := make(object), []string{}
	for _, f := range bodyFields(t) {
		properties[f.name] = c.fieldSchema(f, d)
		if d == sent && f.required || d == answered && !f.omits {
			required = append(required, f.name)
		}
	}
	s["properties"] = properties
	if len(required) > 0 {
		slices.Sort(required)
		s["required"] = required
	}
	if d == sent {
		s["additionalProperties"] = false
	}
	return name
}

func componentName(t reflect.Type, otherwise string) string {
	name, arguments, _ := strings.Cut(t.Name(), "[")
	words := []string{name}
	for argument := range strings.SplitSeq(strings.TrimSuffix(arguments, "]"), ",") {
		words = append(words, argument[strings.LastIndexAny(argument, "./")+1:])
	}
	if name = strings.Join(words, ""); name == "" {
		name = otherwise
	}
	if name == "" {
		return "Object"
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

// member is one field as JSON, path, query or header have it.
type member struct {
	reflect.StructField

	name     string
	source   string // "" for the body
	required bool
	omits    bool
}

// members returns the fields of t, those of embedded structs in their place.
func members(t reflect.Type) []member {
	var list []member
	for _, f := range reflect.VisibleFields(t) {
		tag := f.Tag.Get("json")
		if !f.IsExported() || f.Anonymous && tag == "" {
			continue
		}
		m := member{StructField: f}
		for _, source := range []string{"path", "query", "header"} {
			if name, ok := f.Tag.Lookup(source); ok {
				m.source, m.name = source, name
			}
		}
		name, options, _ := strings.Cut(tag, ",")
		if m.source == "" {
			if tag == "-" {
				continue
			}
			if m.name = name; name == "" {
				m.name = f.Name
			}
		}
		m.omits = strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
		m.required = slices.Contains(strings.Split(f.Tag.Get("validate"), ","), "required")
		list = append(list, m)
	}
	return list
}

func bodyFields(t reflect.Type) []member {
	return slices.DeleteFunc(members(t), func(m member) bool { return m.source != "" })
}

// fieldSchema is the schema of a field's type with what its tags say.
func (c *components) fieldSchema(m member, d direction) object {
	s := c.schemaOf(m.Type, d)
	if m.Type.Kind() == reflect.Struct && m.Type.Name() == "" {
		s = object{"$ref": "#/components/schemas/" + c.structOf(m.Type, m.Name, d)}
	}
	if text := m.Tag.Get("doc"); text != "" {
		s["description"] = text
	}
	if text, ok := m.Tag.Lookup("example"); ok {
		s["examples"] = []any{exampleOf(m.Type, text)}
	}
	if d == sent {
		c.bounds(s, m)
	}
	return s
}

func exampleOf(t reflect.Type, text string) any {
	switch t.Kind() {
	case reflect.Bool:
		return text == "true"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64:
		if n, err := strconv.ParseFloat(text, 64); err == nil {
			return n
		}
	}
	return text
}

var boundNames = map[string]string{
	"min": "minimum", "max": "maximum", "minlength": "minLength", "maxlength": "maxLength", "minitems": "minItems", "maxitems": "maxItems",
}

// bounds turns validate tags into keywords.
func (c *components) bounds(s object, m member) {
	if m.required && s["type"] == "string" && s["format"] == nil {
		s["minLength"] = 1
	}
	for word := range strings.SplitSeq(m.Tag.Get("validate"), ",") {
		name, value, _ := strings.Cut(word, "=")
		if name == "oneof" {
			var values []any
			for v := range strings.SplitSeq(value, "|") {
				values = append(values, exampleOf(m.Type, v))
			}
			s["enum"] = values
			continue
		}
		if keyword := boundNames[name]; keyword != "" {
			if n, err := strconv.ParseFloat(value, 64); err == nil {
				s[keyword] = n
			}
		}
	}
}
