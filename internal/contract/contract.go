// Package contract compares two versions of a published contract and reports breaking changes.
package contract

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// object is a JSON object.
type object = map[string]any

// OpenAPI returns a message for each change between two OpenAPI documents that breaks clients of
// the older document: an operation, a parameter, a successful response or a field was removed, a
// body was added or removed, a type has changed, a response field may now be missing, or a request
// must now contain more, have a token or satisfy narrower bounds. It returns an error if a document
// cannot be decoded.
func OpenAPI(older, newer []byte) ([]string, error) {
	c := new(comparison)
	if err := json.Unmarshal(older, &c.older); err != nil {
		return nil, fmt.Errorf("decode the older document: %w", err)
	}
	if err := json.Unmarshal(newer, &c.newer); err != nil {
		return nil, fmt.Errorf("decode the newer document: %w", err)
	}
	paths := child(c.older, "paths")
	for _, path := range sorted(paths) {
		for _, method := range sorted(child(paths, path)) {
			c.operation(strings.ToUpper(method)+" "+path, child(paths, path, method), child(c.newer, "paths", path, method))
		}
	}
	return c.broken, nil
}

// AsyncAPI returns a message for each change between two AsyncAPI documents that breaks the
// subscribers of a topic: an event was removed, or a field was removed, may now be missing or has
// another type. It returns an error if a document cannot be decoded.
func AsyncAPI(older, newer []byte) ([]string, error) {
	c := &comparison{seen: make(map[string]bool)}
	if err := json.Unmarshal(older, &c.older); err != nil {
		return nil, fmt.Errorf("decode the older document: %w", err)
	}
	if err := json.Unmarshal(newer, &c.newer); err != nil {
		return nil, fmt.Errorf("decode the newer document: %w", err)
	}
	for _, operation := range sorted(child(c.older, "operations")) {
		topic, sent := strings.CutSuffix(operation, ".send")
		if !sent {
			continue
		}
		before, after := child(c.older, "components", "messages", topic), child(c.newer, "components", "messages", topic)
		if child(c.newer, "operations", operation) == nil || after == nil {
			c.breakf("topic %s: is gone", topic)
			continue
		}
		clear(c.seen)
		c.schema("topic "+topic, child(before, "payload"), child(after, "payload"), false)
	}
	return c.broken, nil
}

type comparison struct {
	older, newer object
	broken       []string
	seen         map[string]bool
}

func (c *comparison) breakf(format string, a ...any) {
	c.broken = append(c.broken, fmt.Sprintf(format, a...))
}

// child returns a nested member of o, or nil if it is absent or not an object.
func child(o object, names ...string) object {
	for _, name := range names {
		o, _ = o[name].(object)
	}
	return o
}

func sorted(o object) []string { return slices.Sorted(maps.Keys(o)) }

func (c *comparison) operation(name string, older, newer object) {
	if newer == nil {
		c.breakf("%s: is gone", name)
		return
	}
	if needsToken(newer) && !needsToken(older) {
		c.breakf("%s: needs a token now", name)
	}
	c.parameters(name, older, newer)
	c.seen = make(map[string]bool)
	body := func(o object) object { return child(o, "requestBody", "content", "application/json", "schema") }
	c.schema(name+" request", body(older), body(newer), true)
	for _, status := range sorted(child(older, "responses")) {
		if status[0] != '2' {
			continue // errors may be added and removed
		}
		response := child(newer, "responses", status)
		if response == nil {
			c.breakf("%s: does not respond with %s any more", name, status)
			continue
		}
		c.seen = make(map[string]bool)
		before := child(older, "responses", status)
		c.schema(name+" response", child(before, "content", "application/json", "schema"), child(response, "content", "application/json", "schema"), false)
	}
}

func needsToken(operation object) bool {
	security, _ := operation["security"].([]any)
	return len(security) > 0
}

func (c *comparison) parameters(name string, older, newer object) {
	before, after := byName(older), byName(newer)
	for _, p := range sorted(before) {
		if after[p] == nil {
			c.breakf("%s: parameter %s is gone", name, p)
			continue
		}
		c.seen = make(map[string]bool)
		c.schema(name+" parameter "+p, child(before, p, "schema"), child(after, p, "schema"), true)
	}
	for _, p := range sorted(after) {
		if required, _ := child(after, p)["required"].(bool); required && before[p] == nil {
			c.breakf("%s: parameter %s is new and required", name, p)
		}
	}
}

func byName(operation object) object {
	named := make(object)
	list, _ := operation["parameters"].([]any)
	for _, p := range list {
		if p, ok := p.(object); ok {
			named[fmt.Sprint(p["in"], " ", p["name"])] = p
		}
	}
	return named
}

func resolve(document, schema object) object {
	if ref, ok := schema["$ref"].(string); ok {
		return child(document, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	}
	return schema
}

// schema compares two versions of a schema, which is part of a request if sent is true, and of a
// response or an event otherwise. A request must not require more than before, and a response or an
// event must not contain less.
func (c *comparison) schema(at string, older, newer object, sent bool) {
	key := fmt.Sprint(older["$ref"], newer["$ref"])
	if older["$ref"] != nil && c.seen[key] {
		return
	}
	c.seen[key] = true
	older, newer = resolve(c.older, older), resolve(c.newer, newer)
	if older == nil || newer == nil {
		if (older == nil) != (newer == nil) {
			c.breakf("%s: has a body in one version only", at)
		}
		return
	}
	if was, is := fmt.Sprint(older["type"]), fmt.Sprint(newer["type"]); was != is {
		c.breakf("%s: was %s, is %s", at, was, is)
		return
	}
	if sent {
		c.bounds(at, older, newer)
	}
	before, after := child(older, "properties"), child(newer, "properties")
	for _, name := range sorted(before) {
		if after[name] == nil {
			c.breakf("%s: %s is gone", at, name)
			continue
		}
		c.schema(at+"."+name, child(before, name), child(after, name), sent)
	}
	c.required(at, older, newer, sent)
	if items := child(older, "items"); items != nil {
		c.schema(at+"[]", items, child(newer, "items"), sent)
	}
}

func (c *comparison) required(at string, older, newer object, sent bool) {
	before, after := fmt.Sprint(older["required"]), fmt.Sprint(newer["required"])
	from, in := newer, before
	problem := "%s: %s is required now"
	if !sent {
		from, in, problem = older, after, "%s: %s may be missing now"
	}
	list, _ := from["required"].([]any)
	for _, name := range list {
		if !slices.Contains(strings.Fields(strings.Trim(in, "[]")), fmt.Sprint(name)) {
			c.breakf(problem, at, name)
		}
	}
}

// bounds compares the bounds and the permitted values in two versions of a request. They may become
// wider but not narrower.
func (c *comparison) bounds(at string, older, newer object) {
	for _, keyword := range []string{"minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems"} {
		is, bounded := newer[keyword].(float64)
		was, wasBounded := older[keyword].(float64)
		lower := strings.HasPrefix(keyword, "min")
		if bounded && (!wasBounded || lower && is > was || !lower && is < was) {
			c.breakf("%s: %s is %v now", at, keyword, is)
		}
	}
	allowed, _ := newer["enum"].([]any)
	if allowed == nil {
		return
	}
	before, _ := older["enum"].([]any)
	for _, v := range before {
		if !slices.Contains(allowed, v) {
			c.breakf("%s: %v is not allowed any more", at, v)
		}
	}
	if before == nil {
		c.breakf("%s: only %v are allowed now", at, allowed)
	}
}

var (
	protoBlock = regexp.MustCompile(`^(message|enum|service) (\w+) \{`)
	protoField = regexp.MustCompile(`^\s+((?:repeated |optional )?[\w.]+(?:<[^>]+>)?) (\w+) = (\d+)`)
	protoValue = regexp.MustCompile(`^\s+(\w+) = (-?\d+);`)
	protoRPC   = regexp.MustCompile(`^\s+rpc (\w+)\((\S+)\) returns \((\S+?)\)`)
)

// Proto returns a message for each change between two .proto files that breaks the encoding, or the
// generated code, of the older file: a part that parseProto returns was removed or has changed.
func Proto(older, newer []byte) []string {
	before, after := parseProto(older), parseProto(newer)
	var broken []string
	for _, key := range slices.Sorted(maps.Keys(before)) {
		switch is, ok := after[key]; {
		case !ok:
			broken = append(broken, key+": is gone")
		case is != before[key]:
			broken = append(broken, fmt.Sprintf("%s: was %s, is %s", key, before[key], is))
		}
	}
	return broken
}

// parseProto returns the parts of a .proto file that must not change: the fields and enum values by
// their numbers, and the methods by their names. The file has the format that package protobuf
// writes.
func parseProto(text []byte) map[string]string {
	found := make(map[string]string)
	block := ""
	for line := range strings.Lines(string(text)) {
		if m := protoBlock.FindStringSubmatch(line); m != nil {
			block = m[1] + " " + m[2]
		} else if m := protoRPC.FindStringSubmatch(line); m != nil {
			found[block+" method "+m[1]] = m[2] + " to " + m[3]
		} else if m := protoField.FindStringSubmatch(line); m != nil {
			found[block+" field "+m[3]] = m[1] + " " + m[2]
		} else if m := protoValue.FindStringSubmatch(line); m != nil {
			found[block+" value "+m[2]] = m[1]
		}
	}
	return found
}
