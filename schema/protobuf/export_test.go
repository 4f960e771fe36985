package protobuf

import (
	"fmt"
	"reflect"

	"github.com/chassi-go/chassi/schema/gotype"
	"google.golang.org/protobuf/types/descriptorpb"
)

// FileOf describes types as one file, each as a message Type0, Type1, ...
func FileOf(types ...reflect.Type) (*descriptorpb.FileDescriptorProto, error) {
	b, err := fileOf(types)
	if err != nil {
		return nil, err
	}
	return b.file, nil
}

// JSONOf returns the JSON form of the messages of FileOf.
func JSONOf(types ...reflect.Type) (*JSON, error) {
	b, err := fileOf(types)
	if err != nil {
		return nil, err
	}
	j := &JSON{enums: make(map[reflect.Type]*enumNames)}
	seen := make(map[*Plan]bool)
	for _, t := range types {
		p, err := PlanOf(t)
		if err != nil {
			return nil, err
		}
		j.collect(p, b.names, seen)
	}
	return j, nil
}

func fileOf(types []reflect.Type) (*fileBuilder, error) {
	n := &messageNames{nested: make(map[reflect.Type]gotype.Named), details: make(map[reflect.Type]string)}
	b := newFileBuilder("random.v1", "Random")
	var all []gotype.Named
	var messages []endpointMessage
	seen := make(map[reflect.Type]bool)
	for i, t := range types {
		p, err := PlanOf(t)
		if err != nil {
			return nil, err
		}
		m := endpointMessage{plan: p, named: gotype.Named{Type: t, Fallback: fmt.Sprint("Type", i), Scope: "random.v1"}}
		all = append(n.collect(all, p, m.named, seen), m.named)
		messages = append(messages, m)
	}
	var err error
	if n.of, err = gotype.Names(all, nil); err != nil {
		return nil, err
	}
	b.names = n
	for _, m := range messages {
		b.message(m.plan, n.ofMessage(m))
	}
	return b, nil
}
