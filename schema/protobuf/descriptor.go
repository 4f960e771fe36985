package protobuf

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/chassi-go/chassi"
	"google.golang.org/protobuf/types/descriptorpb"
)

// File returns the file descriptor of services, which must be of one package, such as "auth.v1" for
// "auth.v1.Auth". The descriptor includes comments, the messages of the methods, and those details
// in their [chassi.Errors] whose names are in the package. File omits endpoints that are not served
// over gRPC. A message has the short name of its type, prefixed with a part of its Go package if
// names conflict. File returns an error if there are no services, if a service is invalid, if the
// services are of different packages, if names still conflict, or if a type has no Protocol Buffers
// encoding. The error for such a type names the endpoint.
func File(services ...*chassi.Service) (*descriptorpb.FileDescriptorProto, error) {
	b, err := newFile(services)
	if err != nil {
		return nil, err
	}
	for _, s := range services {
		b.service(s)
	}
	return b.file, nil
}

// newFile returns a builder for the file of services. The builder has the names of all messages,
// but no messages yet. newFile returns the errors of [File].
func newFile(services []*chassi.Service) (*fileBuilder, error) {
	if len(services) == 0 {
		return nil, errors.New("protobuf: a file needs at least one service")
	}
	pkg, first := splitName(services[0].Name())
	b := newFileBuilder(pkg, first)
	for _, s := range services {
		if other, _ := splitName(s.Name()); other != pkg {
			return nil, fmt.Errorf("protobuf: services %s and %s have different packages, but a file has only one", services[0].Name(), s.Name())
		}
		if err := s.Err(); err != nil {
			return nil, err //nolint:wrapcheck // says where
		}
	}
	var err error
	if b.names, err = nameMessages(pkg, services); err != nil {
		return nil, fmt.Errorf("protobuf: %w", err)
	}
	return b, nil
}

// goPackage returns the option go_package for pkg: an import path and a package name, separated by
// a semicolon, that protoc-gen-go accepts.
func goPackage(pkg string) string {
	path := strings.ReplaceAll(pkg, ".", "/")
	if !strings.Contains(path, "/") {
		path = "./" + path
	}
	return path + ";" + strings.ToLower(strings.NewReplacer(".", "", "_", "").Replace(pkg)) + "pb"
}

// PackageOf returns the .proto package of s: the name of s without its last component or, if the
// name has only one component, the name in lower case.
func PackageOf(s *chassi.Service) string {
	pkg, _ := splitName(s.Name())
	return pkg
}

func splitName(service string) (pkg, name string) {
	if i := strings.LastIndexByte(service, '.'); i >= 0 {
		return service[:i], service[i+1:]
	}
	return strings.ToLower(service), service
}

// FullName returns the names of e in a .proto file: the full name of its service, in the form
// package.Service, and the name of its method.
func FullName(e *chassi.Endpoint) (service, method string) {
	name, method, _ := strings.Cut(e.FullName(), "/")
	pkg, short := splitName(name)
	return pkg + "." + short, method
}

type fileBuilder struct {
	file      *descriptorpb.FileDescriptorProto
	names     *messageNames
	described map[string]bool // by name
}

func newFileBuilder(pkg, service string) *fileBuilder {
	return &fileBuilder{described: make(map[string]bool), file: &descriptorpb.FileDescriptorProto{
		Name:    new(strings.ReplaceAll(pkg, ".", "/") + "/" + snakeCase(service) + ".proto"),
		Package: new(pkg), Syntax: new("proto3"), SourceCodeInfo: &descriptorpb.SourceCodeInfo{},
		Options: &descriptorpb.FileOptions{GoPackage: new(goPackage(pkg))},
	}}
}

// Field numbers from descriptor.proto. A path in SourceCodeInfo alternates such numbers with
// indexes.
const (
	pathMessage, pathEnum, pathService = 4, 5, 6
	pathField, pathMethod              = 2, 2
)

func (b *fileBuilder) comment(text string, path ...int32) {
	if text == "" {
		return
	}
	b.file.SourceCodeInfo.Location = append(b.file.SourceCodeInfo.Location, &descriptorpb.SourceCodeInfo_Location{
		Path: path, Span: []int32{0, 0, 0}, LeadingComments: new(" " + strings.ReplaceAll(text, "\n", "\n ") + "\n"),
	})
}

func (b *fileBuilder) service(s *chassi.Service) {
	_, name := splitName(s.Name())
	place := int32(len(b.file.Service))
	out := &descriptorpb.ServiceDescriptorProto{Name: new(name)}
	b.file.Service = append(b.file.Service, out)
	for _, e := range s.Endpoints() {
		if !e.ServedOver("grpc") {
			continue
		}
		method := &descriptorpb.MethodDescriptorProto{Name: new(e.Name())}
		for _, m := range b.names.ofEndpoint[e] {
			b.message(m.plan, b.names.ofMessage(m))
		}
		input, output := b.names.ofEndpoint[e][0], b.names.ofEndpoint[e][1]
		method.InputType, method.OutputType = new(b.fullName(b.names.ofMessage(input))), new(b.fullName(b.names.ofMessage(output)))
		if e.Streams() {
			method.ServerStreaming = new(true)
		}
		if e.Idempotent() {
			method.Options = &descriptorpb.MethodOptions{IdempotencyLevel: descriptorpb.MethodOptions_IDEMPOTENT.Enum()}
		}
		b.comment(e.Doc(), pathService, place, pathMethod, int32(len(out.Method)))
		out.Method = append(out.Method, method)
	}
}

// isNew reports whether name has not been described yet, and marks it as described.
func (b *fileBuilder) isNew(name string) bool {
	described := b.described[name]
	b.described[name] = true
	return !described
}

func (b *fileBuilder) fullName(name string) string { return "." + b.file.GetPackage() + "." + name }

func (b *fileBuilder) message(p *Plan, name string) {
	if !b.isNew(name) {
		return
	}
	out := &descriptorpb.DescriptorProto{Name: new(name)}
	place := int32(len(b.file.MessageType))
	b.file.MessageType = append(b.file.MessageType, out)
	for i := range p.fields {
		f := &p.fields[i]
		b.comment(f.doc, pathMessage, place, pathField, int32(len(out.Field)))
		out.Field = append(out.Field, b.field(f, out))
	}
}

func (b *fileBuilder) field(f *field, message *descriptorpb.DescriptorProto) *descriptorpb.FieldDescriptorProto {
	out := &descriptorpb.FieldDescriptorProto{
		Name: new(f.name), Number: new(int32(f.number)), JsonName: new(f.jsonName), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
	}
	switch f.form {
	case mapped:
		b.mapEntry(f, out, message)
		return out
	case repeated:
		out.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	case optional:
		if f.kind.typ != descriptorpb.FieldDescriptorProto_TYPE_MESSAGE {
			out.Proto3Optional, out.OneofIndex = new(true), new(int32(len(message.OneofDecl)))
			message.OneofDecl = append(message.OneofDecl, &descriptorpb.OneofDescriptorProto{Name: new("_" + f.name)})
		}
	case singular:
	}
	b.setType(out, f.kind)
	return out
}

// mapEntry adds to message a nested message with a key and a value, and makes out a repeated field
// of the nested message. This is the form in which f, a map, is encoded.
func (b *fileBuilder) mapEntry(f *field, out *descriptorpb.FieldDescriptorProto, message *descriptorpb.DescriptorProto) {
	name := entryName(f.name)
	entry := &descriptorpb.DescriptorProto{Name: new(name), Options: &descriptorpb.MessageOptions{MapEntry: new(true)}}
	for i, part := range []struct {
		name string
		kind *kind
	}{{"key", f.key}, {"value", f.kind}} {
		field := &descriptorpb.FieldDescriptorProto{
			Name: new(part.name), JsonName: new(part.name), Number: new(int32(i + 1)), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
		b.setType(field, part.kind)
		entry.Field = append(entry.Field, field)
	}
	message.NestedType = append(message.NestedType, entry)
	out.Label, out.Type = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum(), descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum()
	out.TypeName = new(b.fullName(message.GetName() + "." + name))
}

// entryName returns the name that protoc gives to the entries of a map field, such as LastSeenEntry
// for "last_seen".
func entryName(field string) string {
	var name strings.Builder
	for word := range strings.SplitSeq(field, "_") {
		if word != "" {
			name.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return name.String() + "Entry"
}

func (b *fileBuilder) setType(out *descriptorpb.FieldDescriptorProto, k *kind) {
	out.Type = k.typ.Enum()
	switch {
	case k.known != "":
		out.TypeName = new("." + k.known)
		file := "google/protobuf/" + strings.ToLower(strings.TrimPrefix(k.known, "google.protobuf.")) + ".proto"
		if !slices.Contains(b.file.Dependency, file) {
			b.file.Dependency = append(b.file.Dependency, file)
			slices.Sort(b.file.Dependency)
		}
	case k.enum != nil:
		name := b.names.ofType(k.goType)
		b.enum(k, name)
		out.TypeName = new(b.fullName(name))
	case k.message != nil:
		name := b.names.ofType(k.message.goType)
		b.message(k.message, name)
		out.TypeName = new(b.fullName(name))
	}
}

func (b *fileBuilder) enum(k *kind, name string) {
	if !b.isNew(name) {
		return
	}
	out := &descriptorpb.EnumDescriptorProto{Name: new(name)}
	for _, value := range slices.SortedFunc(maps.Keys(k.enum), zeroFirst) {
		out.Value = append(out.Value, &descriptorpb.EnumValueDescriptorProto{
			Name: new(enumValueName(name, k.enum[value])), Number: new(value),
		})
	}
	b.file.EnumType = append(b.file.EnumType, out)
}

// enumValueName returns the name of a value of an enum in a .proto file. It has the name of the
// enum as a prefix, because the names of values must be unique among all enums of a file.
func enumValueName(enum, value string) string {
	return strings.ToUpper(snakeCase(enum)) + "_" + strings.ToUpper(snakeCase(value))
}

// zeroFirst compares two values of an enum for an ascending order in which 0 comes first, as proto3
// requires.
func zeroFirst(a, b int32) int {
	switch {
	case a == b:
		return 0
	case a == 0 || b != 0 && a < b:
		return -1
	default:
		return 1
	}
}
