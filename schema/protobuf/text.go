package protobuf

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/descriptorpb"
)

// Text returns file, a result of [File], in the syntax of a .proto file.
func Text(file *descriptorpb.FileDescriptorProto) string {
	w := &textWriter{file: file}
	w.linef("syntax = \"proto3\";\n")
	w.linef("package %s;\n", file.GetPackage())
	w.linef("option go_package = %q;\n", file.GetOptions().GetGoPackage())
	for _, dependency := range file.GetDependency() {
		w.linef("import %q;", dependency)
	}
	if len(file.GetDependency()) > 0 {
		w.linef("")
	}
	for i, s := range file.GetService() {
		w.service(s, int32(i))
	}
	for i, m := range file.GetMessageType() {
		w.message(m, int32(i))
	}
	for _, e := range file.GetEnumType() {
		w.enum(e)
	}
	return strings.TrimRight(w.b.String(), "\n") + "\n"
}

type textWriter struct {
	file *descriptorpb.FileDescriptorProto
	b    strings.Builder
}

func (w *textWriter) linef(format string, a ...any) { fmt.Fprintf(&w.b, format+"\n", a...) }

func (w *textWriter) comment(indent string, path ...int32) {
	for _, l := range w.file.GetSourceCodeInfo().GetLocation() {
		if slices.Equal(l.GetPath(), path) {
			for text := range strings.Lines(l.GetLeadingComments()) {
				w.linef("%s//%s", indent, strings.TrimRight(text, "\n"))
			}
		}
	}
}

func (w *textWriter) service(s *descriptorpb.ServiceDescriptorProto, place int32) {
	w.comment("", pathService, place)
	w.linef("service %s {", s.GetName())
	for i, m := range s.GetMethod() {
		w.comment("  ", pathService, place, pathMethod, int32(i))
		isMethod := func(name string) bool {
			return slices.ContainsFunc(s.GetMethod(), func(m *descriptorpb.MethodDescriptorProto) bool { return m.GetName() == name })
		}
		output := w.relative(m.GetOutputType(), isMethod)
		if m.GetServerStreaming() {
			output = "stream " + output
		}
		line := fmt.Sprintf("  rpc %s(%s) returns (%s)", m.GetName(), w.relative(m.GetInputType(), isMethod), output)
		if m.GetOptions().GetIdempotencyLevel() == descriptorpb.MethodOptions_IDEMPOTENT {
			w.linef("%s {\n    option idempotency_level = IDEMPOTENT;\n  }", line)
		} else {
			w.linef("%s;", line)
		}
	}
	w.linef("}\n")
}

func (w *textWriter) message(m *descriptorpb.DescriptorProto, place int32) {
	w.comment("", pathMessage, place)
	if len(m.GetField()) == 0 {
		w.linef("message %s {}\n", m.GetName())
		return
	}
	w.linef("message %s {", m.GetName())
	for i, f := range m.GetField() {
		w.comment("  ", pathMessage, place, pathField, int32(i))
		options := ""
		if f.GetJsonName() != lowerCamel(f.GetName()) {
			options = fmt.Sprintf(" [json_name = %q]", f.GetJsonName())
		}
		w.linef("  %s %s = %d%s;", w.fieldType(m, f), f.GetName(), f.GetNumber(), options)
	}
	w.linef("}\n")
}

// lowerCamel returns the JSON name that protoc derives from the name of a field.
func lowerCamel(name string) string {
	var b strings.Builder
	upper := false
	for _, r := range name {
		switch {
		case r == '_':
			upper = true
			continue
		case upper && r >= 'a' && r <= 'z':
			r += 'A' - 'a'
		}
		upper = false
		b.WriteRune(r)
	}
	return b.String()
}

func (w *textWriter) fieldType(m *descriptorpb.DescriptorProto, f *descriptorpb.FieldDescriptorProto) string {
	for _, entry := range m.GetNestedType() {
		if strings.HasSuffix(f.GetTypeName(), "."+m.GetName()+"."+entry.GetName()) {
			return fmt.Sprintf("map<%s, %s>", w.typeName(m, entry.GetField()[0]), w.typeName(m, entry.GetField()[1]))
		}
	}
	switch {
	case f.GetLabel() == descriptorpb.FieldDescriptorProto_LABEL_REPEATED:
		return "repeated " + w.typeName(m, f)
	case f.GetProto3Optional():
		return "optional " + w.typeName(m, f)
	default:
		return w.typeName(m, f)
	}
}

func (w *textWriter) typeName(m *descriptorpb.DescriptorProto, f *descriptorpb.FieldDescriptorProto) string {
	if f.GetTypeName() != "" {
		return w.relative(f.GetTypeName(), func(name string) bool {
			return slices.ContainsFunc(m.GetNestedType(), func(entry *descriptorpb.DescriptorProto) bool { return entry.GetName() == name })
		})
	}
	return strings.ToLower(strings.TrimPrefix(f.GetType().String(), "TYPE_"))
}

// relative returns the form in which the .proto file refers to name, the full name of a message or
// an enum. A name of this file is shortened, unless hidden reports that a method of the service or
// an entry of a map shadows the short name. A name of another file keeps its leading dot if a
// component of the package would shadow it.
func (w *textWriter) relative(name string, hidden func(name string) bool) string {
	if short, ours := strings.CutPrefix(name, "."+w.file.GetPackage()+"."); ours {
		if hidden(short) {
			return name
		}
		return short
	}
	if slices.Contains(strings.Split(w.file.GetPackage(), "."), "google") {
		return name
	}
	return strings.TrimPrefix(name, ".")
}

func (w *textWriter) enum(e *descriptorpb.EnumDescriptorProto) {
	w.linef("enum %s {", e.GetName())
	for _, v := range e.GetValue() {
		w.linef("  %s = %d;", v.GetName(), v.GetNumber())
	}
	w.linef("}\n")
}
