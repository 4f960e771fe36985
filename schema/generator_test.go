package schema_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// generator draws JSON that a schema describes.
type generator struct {
	r        *rand.Rand
	document map[string]any
}

func (g *generator) value(s map[string]any, depth int) any {
	if ref, ok := s["$ref"].(string); ok {
		at := any(g.document)
		for name := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
			at = at.(map[string]any)[name]
		}
		return g.value(at.(map[string]any), depth)
	}
	if values, ok := s["enum"].([]any); ok {
		return values[g.r.IntN(len(values))]
	}
	if either, ok := s["anyOf"].([]any); ok {
		if depth <= 0 {
			return nil
		}
		return g.value(either[g.r.IntN(len(either))].(map[string]any), depth)
	}
	kind, _ := s["type"].(string)
	if kinds, ok := s["type"].([]any); ok {
		if depth <= 0 || g.r.IntN(3) == 0 {
			return nil
		}
		kind = kinds[0].(string)
	}
	switch kind {
	case "boolean":
		return g.r.IntN(2) == 0
	case "integer":
		return g.integer(s)
	case "number":
		return g.r.NormFloat64()
	case "string":
		return g.text(s)
	case "array":
		return g.array(s, depth)
	case "object":
		return g.object(s, depth)
	default:
		return []any{nil, true, "x", json.Number("-1.5e3"), []any{}, map[string]any{"k": nil}}[g.r.IntN(6)]
	}
}

func (g *generator) integer(s map[string]any) json.Number {
	for _, bound := range []string{"minimum", "maximum"} {
		if n, ok := s[bound].(json.Number); ok && g.r.IntN(3) == 0 {
			return n
		}
	}
	n := g.r.IntN(100)
	if s["minimum"] == nil && g.r.IntN(2) == 0 {
		return json.Number(strconv.FormatInt(int64(g.r.Uint64()), 10))
	}
	return json.Number(strconv.Itoa(n))
}

func (g *generator) text(s map[string]any) string {
	pattern, _ := s["pattern"].(string)
	switch {
	case s["format"] == "date-time":
		return fmt.Sprintf("20%02d-0%d-1%dT1%d:00:00.5Z", g.r.IntN(100), 1+g.r.IntN(9), g.r.IntN(10), g.r.IntN(10))
	case strings.HasSuffix(pattern, "s$"):
		return fmt.Sprintf("-%d.%03ds", g.r.IntN(1e9), g.r.IntN(1000))
	case s["contentEncoding"] == "base64" && pattern != "":
		var length int
		_, _ = fmt.Sscanf(pattern, "^[A-Za-z0-9+/]{%d}", &length)
		return strings.Repeat("A", length) + strings.Trim(pattern[strings.LastIndexByte(pattern, '}')+1:], "$")
	case s["contentEncoding"] == "base64":
		return base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", g.r.IntN(5))))
	case pattern != "" && strings.Contains(pattern, "eE"):
		return strconv.FormatFloat(g.r.NormFloat64(), 'e', -1, 32)
	case pattern != "":
		return strconv.Itoa(g.r.IntN(100))
	default:
		return []string{"", "a", "é\"", "null", "0", "\x01"}[g.r.IntN(6)]
	}
}

func (g *generator) array(s map[string]any, depth int) any {
	items, _ := s["items"].(map[string]any)
	n := 0
	if number, ok := s["minItems"].(json.Number); ok {
		n, _ = strconv.Atoi(number.String())
	} else if depth > 0 {
		n = g.r.IntN(3)
	}
	list := make([]any, n)
	for i := range list {
		list[i] = g.value(items, depth-1)
	}
	return list
}

func (g *generator) object(s map[string]any, depth int) any {
	o := make(map[string]any)
	properties, _ := s["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		if depth > 0 && g.r.IntN(3) > 0 {
			o[name] = g.value(properties[name].(map[string]any), depth-1)
		}
	}
	if more, ok := s["additionalProperties"].(map[string]any); ok && depth > 0 && g.r.IntN(2) == 0 {
		names, _ := s["propertyNames"].(map[string]any)
		if names == nil {
			names = map[string]any{"type": "string"}
		}
		if name := fmt.Sprint(g.value(names, 1)); properties[name] == nil {
			o[name] = g.value(more, depth-1)
		}
	}
	return o
}

// mutate changes one place of a value.
func (g *generator) mutate(v any) any {
	switch x := v.(type) {
	case map[string]any:
		o := maps.Clone(x)
		names := slices.Sorted(maps.Keys(o))
		if len(names) == 0 || g.r.IntN(8) == 0 {
			o[g.name(names)] = g.junk()
			return o
		}
		name := names[g.r.IntN(len(names))]
		switch g.r.IntN(6) {
		case 0:
			delete(o, name)
		case 1:
			o[g.name(names)] = o[name]
			delete(o, name)
		default:
			o[name] = g.mutate(o[name])
		}
		return o
	case []any:
		list := slices.Clone(x)
		if len(list) == 0 || g.r.IntN(4) == 0 {
			return append(list, g.junk())
		}
		i := g.r.IntN(len(list))
		if g.r.IntN(4) == 0 {
			return slices.Delete(list, i, i+1)
		}
		list[i] = g.mutate(list[i])
		return list
	default:
		return g.junk()
	}
}

func (g *generator) name(known []string) string {
	names := []string{"", "x", "-0", "00", "1", "300", "-1", "1.5", "1e400", "1h", "2020-01-01T00:00:00Z", "é"}
	for _, name := range known {
		names = append(names, strings.ToUpper(name), name+"_")
	}
	return names[g.r.IntN(len(names))]
}

// junk leaves out what no schema can tell: numbers that no float64 holds where anything
// may stand, and durations of 293 to 317 years.
func (g *generator) junk() any {
	return []any{
		nil, true, "", "x", "0", "-0", "00", "1.5", "1e400", "300", "-1", "99999999999999999999", "1s", "1.5s", "9000000000s", "AA==", "AAA=", "AAAA", "A",
		json.Number("0"), json.Number("-1"), json.Number("127"), json.Number("128"), json.Number("256"), json.Number("65536"), json.Number("4294967296"),
		json.Number("9223372036854775808"), json.Number("18446744073709551616"), json.Number("1.5"), json.Number("1e39"),
		[]any{}, []any{nil}, map[string]any{}, map[string]any{"x": 1}, "2020-02-30T00:00:00Z", "2020-01-01",
	}[g.r.IntN(36)]
}
