package grpcapi

import (
	"fmt"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/protobuf"
	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionalphapb "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	_ "google.golang.org/protobuf/types/known/durationpb" // referenced by descriptors
	_ "google.golang.org/protobuf/types/known/timestamppb"
)

// describe returns the descriptors of services, with one file for each Protocol Buffers package. It
// returns an error if a package cannot be described, for example because names conflict.
func describe(services []*chassi.Service) (*protoregistry.Files, error) {
	files := new(protoregistry.Files)
	packages := make(map[string][]*chassi.Service)
	var order []string
	for _, s := range services {
		pkg := protobuf.PackageOf(s)
		if packages[pkg] == nil {
			order = append(order, pkg)
		}
		packages[pkg] = append(packages[pkg], s)
	}
	for _, pkg := range order {
		file, err := protobuf.File(packages[pkg]...)
		if err != nil {
			return nil, fmt.Errorf("grpcapi: %w", err)
		}
		descriptor, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
		if err != nil {
			return nil, fmt.Errorf("grpcapi: describe %s: %w", file.GetName(), err)
		}
		if err := files.RegisterFile(descriptor); err != nil {
			return nil, fmt.Errorf("grpcapi: %w", err)
		}
	}
	return files, nil
}

// registerReflection registers the reflection service in the versions v1 and v1alpha, because many
// clients support only v1alpha.
func registerReflection(registrar grpc.ServiceRegistrar, server *grpc.Server, files *protoregistry.Files) {
	options := reflection.ServerOptions{Services: server, DescriptorResolver: resolver{files}, ExtensionResolver: noExtensions{}}
	reflectionpb.RegisterServerReflectionServer(registrar, reflection.NewServerV1(options))
	reflectionalphapb.RegisterServerReflectionServer(registrar, reflection.NewServer(options))
}

// resolver finds descriptors among those of the server's services, and then among the generated
// descriptors that are linked into the program.
type resolver struct{ ours *protoregistry.Files }

func (r resolver) FindFileByPath(path string) (protoreflect.FileDescriptor, error) {
	if f, err := r.ours.FindFileByPath(path); err == nil {
		return f, nil
	}
	return protoregistry.GlobalFiles.FindFileByPath(path)
}

func (r resolver) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	if d, err := r.ours.FindDescriptorByName(name); err == nil {
		return d, nil
	}
	return protoregistry.GlobalFiles.FindDescriptorByName(name)
}

type noExtensions struct{}

func (noExtensions) FindExtensionByName(protoreflect.FullName) (protoreflect.ExtensionType, error) {
	return nil, protoregistry.NotFound
}

func (noExtensions) FindExtensionByNumber(protoreflect.FullName, protoreflect.FieldNumber) (protoreflect.ExtensionType, error) {
	return nil, protoregistry.NotFound
}

func (noExtensions) RangeExtensionsByMessage(protoreflect.FullName, func(protoreflect.ExtensionType) bool) {
}
