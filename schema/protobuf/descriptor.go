package protobuf

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/chassi-go/chassi"
	"google.golang.org/protobuf/types/descriptorpb"
)

// File describes services of one package ("auth.v1" of "auth.v1.Auth") with all
// their messages, comments included: those of the methods, and the details of their
// [chassi.Errors]. It returns an error for a type that has no place in a message, and
// for two types that would get the same name.
func File(services ...*chassi.Service) (*descriptorpb.FileDescriptorProto, error) {
	if len(services) == 0 {
		return nil, errors.New("protobuf: a file needs a service")
	}
	pkg, first := splitName(services[0].Name())
	b := &fileBuilder{byName: make(map[string]reflect.Type), file: &descriptorpb.FileDescriptorProto{
		Name:    new(strings.ReplaceAll(pkg, ".", "/") + "/" + snakeCase(first) + ".proto"),
		Package: new(pkg), Syntax: new("proto3"), SourceCodeInfo: &descriptorpb.SourceCodeInfo{},
	}}
	for _, s := range services {
		if other, _ := splitName(s.Name()); other != pkg {
			return nil, fmt.Errorf("protobuf: services %s and %s are not of one package", services[0].Name(), s.Name())
		}
		if err := b.service(s); err != nil {
			return nil, err
		}
	}
	return b.file, nil
}

func splitName(service string) (pkg, name string) {
	if i := strings.LastIndexByte(service, '.'); i >= 0 {
		return service[:i], service[i+1:]
	}
	return strings.ToLower(service), service
}

// FullName returns the name of an endpoint's service and the name of its method
// as they stand in a .proto file: package.Service, Method.
func FullName(e *chassi.Endpoint) (service, method string) {
	name, method, _ := strings.Cut(e.FullName(), "/")
	pkg, short := splitName(name)
	return pkg + "." + short, method
}

type fileBuilder struct {
	file   *descriptorpb.FileDescriptorProto
	byName map[string]reflect.Type
}

// The field numbers that make a path in SourceCodeInfo.
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

func (b *fileBuilder) service(s *chassi.Service) error {
	_, name := splitName(s.Name())
	place := int32(len(b.file.Service))
	out := &descriptorpb.ServiceDescriptorProto{Name: new(name)}
	b.file.Service = append(b.file.Service, out)
	for _, e := range s.Endpoints() {
		input, err := b.endpointMessage(e, e.RequestType(), "Request")
		if err != nil {
			return err
		}
		output, err := b.endpointMessage(e, e.ResponseType(), "Response")
		if err != nil {
			return err
		}
		method := &descriptorpb.MethodDescriptorProto{Name: new(e.Name()), InputType: new(input), OutputType: new(output)}
		if e.Idempotent() {
			method.Options = &descriptorpb.MethodOptions{IdempotencyLevel: descriptorpb.MethodOptions_IDEMPOTENT.Enum()}
		}
		if err := b.details(e); err != nil {
			return err
		}
		b.comment(e.Doc(), pathService, place, pathMethod, int32(len(out.Method)))
		out.Method = append(out.Method, method)
	}
	return nil
}

func (b *fileBuilder) endpointMessage(e *chassi.Endpoint, t reflect.Type, suffix string) (string, error) {
	p, err := PlanOf(t)
	if err != nil {
		return "", fmt.Errorf("%s: %w", e.FullName(), err)
	}
	name := p.name
	if name == "" {
		name = e.Name() + suffix
	}
	full, err := b.message(p, name)
	if err != nil {
		return "", fmt.Errorf("protobuf: %s: %w", e.FullName(), err)
	}
	return full, nil
}

// details describes those of an endpoint's errors whose names are in this package: no
// method refers to them, but callers receive them.
func (b *fileBuilder) details(e *chassi.Endpoint) error {
	for _, declared := range e.Errors() {
		for _, d := range declared.Details {
			name, ours := strings.CutPrefix(d.DetailName(), b.file.GetPackage()+".")
			t := reflect.TypeOf(d)
			if t.Kind() == reflect.Pointer {
				t = t.Elem()
			}
			if t == reflect.TypeFor[chassi.EncodedDetail]() {
				continue
			}
			p, err := PlanOf(t)
			if err == nil && ours && !strings.Contains(name, ".") {
				_, err = b.message(p, name)
			}
			if err != nil {
				return fmt.Errorf("protobuf: %s: detail %s: %w", e.FullName(), d.DetailName(), err)
			}
		}
	}
	return nil
}

// claim tells whether name is new; it is an error if another type has it.
func (b *fileBuilder) claim(name string, t reflect.Type) (bool, error) {
	switch other := b.byName[name]; other {
	case nil:
		b.byName[name] = t
		return true, nil
	case t:
		return false, nil
	default:
		return false, fmt.Errorf("types %s.%s and %s.%s would both be message %s: rename one", other.PkgPath(), other.Name(), t.PkgPath(), t.Name(), name)
	}
}

func (b *fileBuilder) fullName(name string) string { return "." + b.file.GetPackage() + "." + name }

func (b *fileBuilder) message(p *Plan, name string) (string, error) {
	if isNew, err := b.claim(name, p.goType); !isNew || err != nil {
		return b.fullName(name), err
	}
	out := &descriptorpb.DescriptorProto{Name: new(name)}
	place := int32(len(b.file.MessageType))
	b.file.MessageType = append(b.file.MessageType, out)
	for i := range p.fields {
		f := &p.fields[i]
		described, err := b.field(f, out)
		if err != nil {
			return "", fmt.Errorf("field %s: %w", f.name, err)
		}
		b.comment(f.doc, pathMessage, place, pathField, int32(len(out.Field)))
		out.Field = append(out.Field, described)
	}
	return b.fullName(name), nil
}

func (b *fileBuilder) field(f *field, message *descriptorpb.DescriptorProto) (*descriptorpb.FieldDescriptorProto, error) {
	out := &descriptorpb.FieldDescriptorProto{
		Name: new(f.name), Number: new(int32(f.number)), JsonName: new(f.jsonName), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
	}
	switch f.form {
	case mapped:
		return out, b.mapEntry(f, out, message)
	case repeated:
		out.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	case optional:
		if f.kind.typ != descriptorpb.FieldDescriptorProto_TYPE_MESSAGE {
			out.Proto3Optional, out.OneofIndex = new(true), new(int32(len(message.OneofDecl)))
			message.OneofDecl = append(message.OneofDecl, &descriptorpb.OneofDescriptorProto{Name: new("_" + f.name)})
		}
	case singular:
	}
	return out, b.setType(out, f.kind)
}

// mapEntry describes a map as what it is on the wire: a list of messages with key
// and value.
func (b *fileBuilder) mapEntry(f *field, out *descriptorpb.FieldDescriptorProto, message *descriptorpb.DescriptorProto) error {
	name := entryName(f.name)
	entry := &descriptorpb.DescriptorProto{Name: new(name), Options: &descriptorpb.MessageOptions{MapEntry: new(true)}}
	for i, part := range []struct {
		name string
		kind *kind
	}{{"key", f.key}, {"value", f.kind}} {
		field := &descriptorpb.FieldDescriptorProto{
			Name: new(part.name), JsonName: new(part.name), Number: new(int32(i + 1)), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
		if err := b.setType(field, part.kind); err != nil {
			return err
		}
		entry.Field = append(entry.Field, field)
	}
	message.NestedType = append(message.NestedType, entry)
	out.Label, out.Type = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum(), descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum()
	out.TypeName = new(b.fullName(message.GetName() + "." + name))
	return nil
}

// entryName is what protoc calls the entry of a map: "last_seen" has a
// LastSeenEntry.
func entryName(field string) string {
	var name strings.Builder
	for word := range strings.SplitSeq(field, "_") {
		name.WriteString(upperFirst(word))
	}
	return name.String() + "Entry"
}

func (b *fileBuilder) setType(out *descriptorpb.FieldDescriptorProto, k *kind) error {
	out.Type = k.typ.Enum()
	var name string
	var err error
	switch {
	case k.known != "":
		name = "." + k.known
		file := "google/protobuf/" + strings.ToLower(strings.TrimPrefix(k.known, "google.protobuf.")) + ".proto"
		if !slices.Contains(b.file.Dependency, file) {
			b.file.Dependency = append(b.file.Dependency, file)
			slices.Sort(b.file.Dependency)
		}
	case k.enum != nil:
		name, err = b.enum(k)
	case k.message != nil:
		name, err = b.message(k.message, k.message.name)
	default:
		return nil
	}
	out.TypeName = new(name)
	return err
}

func (b *fileBuilder) enum(k *kind) (string, error) {
	name := messageName(k.goType, "")
	if isNew, err := b.claim(name, k.goType); !isNew || err != nil {
		return b.fullName(name), err
	}
	out := &descriptorpb.EnumDescriptorProto{Name: new(name)}
	names := k.enum.EnumNames()
	prefix := strings.ToUpper(snakeCase(name)) + "_"
	for _, value := range slices.SortedFunc(maps.Keys(names), zeroFirst) {
		out.Value = append(out.Value, &descriptorpb.EnumValueDescriptorProto{
			Name: new(prefix + strings.ToUpper(snakeCase(names[value]))), Number: new(value),
		})
	}
	b.file.EnumType = append(b.file.EnumType, out)
	return b.fullName(name), nil
}

// zeroFirst is how proto3 wants it.
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
