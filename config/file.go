package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readFile applies the configuration file and returns its path, or "" if there is none or it cannot
// be read.
func (l *loader) readFile(flags, env map[string]string) string {
	path, asked := flags["config"]
	if !asked {
		path, asked = env[envName(l.options.Name, "config")]
	}
	if !asked {
		path = l.options.File
	}
	if path == "" {
		return ""
	}
	data, err := l.readBounded(path, maxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !asked:
		l.report.absent = path
		return ""
	case err != nil:
		l.addProblem(fmt.Errorf("configuration file: %w", err))
		return ""
	}
	l.parseFile(path, data)
	return path
}

// parseFile applies data, the YAML document in the configuration file at path.
func (l *loader) parseFile(path string, data []byte) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, more yaml.Node
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) {
		return // empty
	}
	if err != nil {
		l.addProblem(fmt.Errorf("%s: not valid YAML: %s", path, yamlError(err)))
		return
	}
	if !errors.Is(decoder.Decode(&more), io.EOF) {
		l.addProblem(fmt.Errorf("%s: more than one YAML document; only one is permitted", path))
	}
	l.walk(path, "", document.Content[0], l.fields)
}

// unknownAnchor matches the part of a YAML error that contains the name of an anchor, which may be
// a secret that begins with *.
var unknownAnchor = regexp.MustCompile(`unknown anchor '.*' referenced`)

func yamlError(err error) string {
	return unknownAnchor.ReplaceAllString(err.Error(), "unknown anchor; quote a value that begins with *")
}

// walk applies node, a mapping, to the settings in fields whose keys begin with prefix.
func (l *loader) walk(path, prefix string, node *yaml.Node, fields []*field) {
	if isNull(node) {
		return
	}
	if node.Kind != yaml.MappingNode {
		l.addProblem(fmt.Errorf("%s:%d: %s must be a mapping of settings", path, node.Line, orRoot(prefix)))
		return
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		key, at := prefix+name.Value, fmt.Sprintf("%s:%d", path, name.Line)
		setting := slices.IndexFunc(fields, func(f *field) bool { return f.key == key })
		group := slices.IndexFunc(fields, func(f *field) bool { return strings.HasPrefix(f.key, key+".") })
		switch {
		case seen[key]:
			l.addProblem(fmt.Errorf("%s: %s is given twice", at, key))
		case setting >= 0:
			l.applyNode(fields[setting], path, at, value)
		case group >= 0:
			if p := fields[group].groupAt(key); p != nil && value.Kind == yaml.MappingNode {
				p.set()
			}
			l.walk(path, key+".", value, fields)
		default:
			l.addProblem(fmt.Errorf("%s: unknown setting %s%s", at, key, suggest(key, names(fields, key, false))))
		}
		seen[key] = true
	}
}

func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.Tag == "!!null" }

func orRoot(prefix string) string {
	if prefix == "" {
		return "the file"
	}
	return strings.TrimSuffix(prefix, ".")
}

func (l *loader) applyNode(f *field, path, at string, node *yaml.Node) {
	switch {
	case isNull(node):
		l.addProblem(fmt.Errorf("%s: %s has no value", at, f.key))
	case node.Kind == yaml.ScalarNode:
		l.apply(f, at, node.Value)
	case node.Kind == yaml.SequenceNode && f.hasElements() && f.isList():
		f.startElements(at)
		for i, item := range node.Content {
			l.applyElement(f, path, strconv.Itoa(i), at, item)
		}
	case node.Kind == yaml.MappingNode && f.hasElements() && !f.isList():
		l.applyMap(f, path, at, node)
	case node.Kind == yaml.SequenceNode && !f.hasElements():
		l.applyList(f, at, node)
	default:
		l.addProblem(fmt.Errorf("%s: %s must be %s", at, f.key, f.form()))
	}
}

// form returns a description of the form that the field must have in a file.
func (f *field) form() string {
	switch {
	case f.hasElements() && f.isList():
		return "a list of settings"
	case f.hasElements():
		return "a mapping"
	case f.value.Kind() == reflect.Slice && !isScalar(f.value.Type()):
		return "a plain value or a list"
	default:
		return "a plain value"
	}
}

func (l *loader) applyList(f *field, at string, node *yaml.Node) {
	var items []string
	for _, item := range node.Content {
		if item.Kind != yaml.ScalarNode {
			l.addProblem(fmt.Errorf("%s: %s must be a list of plain values", at, f.key))
			return
		}
		items = append(items, item.Value)
	}
	l.applied(f, at, strings.Join(items, ","), f.setList(items))
}

func (l *loader) applyMap(f *field, path, at string, node *yaml.Node) {
	f.startElements(at)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		at := fmt.Sprintf("%s:%d", path, key.Line)
		switch {
		case key.Kind != yaml.ScalarNode || key.Value == "":
			l.addProblem(fmt.Errorf("%s: each key of %s must be text that is not empty", at, f.key))
		case f.has(key.Value):
			l.addProblem(fmt.Errorf("%s: %s.%s is given twice", at, f.key, key.Value))
		default:
			l.applyElement(f, path, key.Value, at, node.Content[i+1])
		}
	}
}

// startElements removes the existing elements of f, because the elements in the file replace them.
// It sets the source of f, and the pointers of the optional groups around f.
func (f *field) startElements(source string) {
	f.removeElements()
	f.source = source
	f.group.set()
}

// applyElement adds an element with the given name to f and applies node to it.
func (l *loader) applyElement(f *field, path, name, at string, node *yaml.Node) {
	e, err := f.element(name)
	if err != nil {
		l.addProblem(err)
		return
	}
	e.given = true
	if f.hasGroups() {
		l.walk(path, e.key+".", node, e.fields)
	} else {
		l.applyNode(e.fields[0], path, at, node)
	}
}
