package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"go.yaml.in/yaml/v3"
)

// readFile applies the configuration file and returns its name, "" for none.
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
	data, err := readBounded(path, maxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !asked:
		return ""
	case err != nil:
		l.complain(fmt.Errorf("configuration file: %w", err))
		return ""
	}
	l.parseFile(path, data)
	return path
}

// parseFile applies one YAML document.
func (l *loader) parseFile(path string, data []byte) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, more yaml.Node
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) {
		return // empty
	}
	if err != nil {
		l.complain(fmt.Errorf("%s: not valid YAML: %w", path, err))
		return
	}
	if !errors.Is(decoder.Decode(&more), io.EOF) {
		l.complain(fmt.Errorf("%s: more than one document", path))
	}
	l.walk(path, "", document.Content[0])
}

// walk applies the members of a mapping below prefix.
func (l *loader) walk(path, prefix string, node *yaml.Node) {
	if node.Kind == yaml.ScalarNode && node.Tag == "!!null" {
		return
	}
	if node.Kind != yaml.MappingNode {
		l.complain(fmt.Errorf("%s:%d: %s must have settings below it", path, node.Line, orRoot(prefix)))
		return
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		key, at := prefix+name.Value, fmt.Sprintf("%s:%d", path, name.Line)
		switch {
		case seen[key]:
			l.complain(fmt.Errorf("%s: %s is given twice", at, key))
		case l.byKey[key] != nil:
			l.applyNode(l.byKey[key], at, value)
		case l.isGroup(key):
			l.walk(path, key+".", value)
		default:
			l.complain(fmt.Errorf("%s: unknown setting %s%s", at, key, suggest(key, l.keys())))
		}
		seen[key] = true
	}
}

func orRoot(prefix string) string {
	if prefix == "" {
		return "the file"
	}
	return prefix[:len(prefix)-1]
}

func (l *loader) isGroup(key string) bool {
	for _, f := range l.fields {
		if len(f.key) > len(key) && f.key[:len(key)] == key && f.key[len(key)] == '.' {
			return true
		}
	}
	return false
}

func (l *loader) applyNode(f *field, at string, node *yaml.Node) {
	switch node.Kind {
	case yaml.ScalarNode:
		if node.Tag == "!!null" {
			l.complain(fmt.Errorf("%s: %s has no value", at, f.key))
			return
		}
		l.apply(f, at, node.Value)
	case yaml.SequenceNode:
		var items []string
		for _, item := range node.Content {
			if item.Kind != yaml.ScalarNode {
				l.complain(fmt.Errorf("%s: %s must be a list of plain values", at, f.key))
				return
			}
			items = append(items, item.Value)
		}
		l.applied(f, at, fmt.Sprint(items), f.setList(items))
	default:
		l.complain(fmt.Errorf("%s: %s must be a plain value or a list", at, f.key))
	}
}
