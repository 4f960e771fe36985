package config

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
)

// Usage writes the flag, the environment variable, the help text and the default of each setting of
// the struct that dst points to. name is the name of the program. If groups are given, such as
// "http" or "token.master_key", Usage writes only the settings in them. In the names of settings, N
// stands for the index of a list element, and KEY for the key of a map element. Usage returns an
// error if the struct has a field that cannot be configured or if writing to w fails.
func Usage(w io.Writer, dst any, name string, groups ...string) error {
	l, err := newLoader(dst, Options{Name: name})
	if err != nil {
		return err
	}
	for _, f := range samples(l.fields) {
		if len(groups) > 0 && !slices.ContainsFunc(groups, f.isBelow) {
			continue
		}
		if _, err := io.WriteString(w, f.usage()); err != nil {
			return err //nolint:wrapcheck // the writer's
		}
	}
	return nil
}

// samples returns fields, with each list of structs and each map replaced by the fields of a sample
// element.
func samples(fields []*field) (list []*field) {
	for _, f := range fields {
		if f.hasElements() {
			list = append(list, samples(f.sample().fields)...)
		} else {
			list = append(list, f)
		}
	}
	return list
}

func (f *field) isBelow(group string) bool {
	return f.key == group || strings.HasPrefix(f.key, group+".") || strings.HasPrefix(f.key, group+"[")
}

func (f *field) usage() string {
	byDefault := ""
	if text := f.mask(f.defaultText()); text != "" && !f.isZero() {
		byDefault = " (default " + text + ")"
	}
	return fmt.Sprintf("  --%s  %s\n        %s%s\n", f.key, f.env, f.tag.Get("help"), byDefault)
}

// defaultText returns the value of the field as text. If the value equals that of the default tag,
// the text is that of the tag, such as 1m instead of 1m0s.
func (f *field) defaultText() string {
	text, ok := f.defaultTag()
	tagged := &field{value: reflect.New(f.value.Type()).Elem(), tag: f.tag}
	if ok && tagged.set(text) == nil && tagged.text() == f.text() {
		return text
	}
	return f.text()
}
