package protobuf_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/chassi-go/chassi/internal/typetest"
	"github.com/chassi-go/chassi/schema/gotype"
	"github.com/chassi-go/chassi/schema/protobuf"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

var randomTypes = flag.Int("types", 300, "random types for the differential test")

// What we write of any type, the official runtime reads with the descriptors that protoc
// makes of the printed .proto file, and what that writes, we read.
func TestOfficialRuntimeAgreesOnTypes(t *testing.T) {
	t.Parallel()
	var types []reflect.Type
	r := rand.New(rand.NewPCG(3, 4))
	shapes := append(typetest.Shapes(), typetest.Particular()...)
	refused := 0
	for i := range len(shapes) + *randomTypes {
		var of reflect.Type
		if i < len(shapes) {
			of = shapes[i]
		} else {
			of = typetest.RandomMessage(r)
		}
		if _, err := protobuf.PlanOf(of); err != nil {
			refused++
			continue
		}
		types = append(types, of)
	}
	t.Logf("%d types, %d more refused", len(types), refused)
	const atOnce = 500
	for len(types) > 0 {
		n := min(len(types), atOnce)
		if err := compareTypes(t, r, types[:n]); err != nil {
			t.Fatal(err)
		}
		types = types[n:]
	}
}

func FuzzTypes(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Add(uint64(67), uint64(257)) // fields with the same Go name in a struct and in one that it embeds
	f.Fuzz(func(t *testing.T, a, b uint64) {
		r := rand.New(rand.NewPCG(a, b))
		of := typetest.RandomMessage(r)
		if _, err := protobuf.PlanOf(of); err != nil {
			return
		}
		file, err := protobuf.FileOf(of)
		if err != nil {
			t.Fatal(err)
		}
		if err := compareWith(file, r, []reflect.Type{of}); err != nil {
			t.Errorf("%v: %v", of, err)
		}
	})
}

func compareTypes(t *testing.T, r *rand.Rand, types []reflect.Type) error {
	t.Helper()
	file, err := protobuf.FileOf(types...)
	if err != nil {
		return err
	}
	if protoc, err := exec.LookPath("protoc"); err == nil {
		theirs, err := runProtoc(t, protoc, protobuf.Text(file))
		if err != nil {
			return err
		}
		file.SourceCodeInfo, theirs.Name = nil, file.Name
		if !proto.Equal(file, theirs) {
			return fmt.Errorf("ours and protoc's differ:\n%s", cmp.Diff(file.String(), theirs.String()))
		}
		file = theirs
	} else if os.Getenv("CI") == "true" {
		return errors.New("protoc is not installed (Debian: protobuf-compiler)")
	}
	return compareWith(file, r, types)
}

func runProtoc(t *testing.T, protoc, text string) (*descriptorpb.FileDescriptorProto, error) {
	t.Helper()
	dir := t.TempDir()
	name := filepath.Join(dir, "types.proto")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(t.Context(), protoc, "-I", dir, "--descriptor_set_out="+dir+"/out", name).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s\n%s", err, out, text)
	}
	b, err := os.ReadFile(dir + "/out")
	if err != nil {
		return nil, err
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(b, &set); err != nil {
		return nil, err
	}
	return set.GetFile()[0], nil
}

// compareWith holds values of types, described as Type0, Type1, ..., against the official
// runtime.
func compareWith(file *descriptorpb.FileDescriptorProto, r *rand.Rand, types []reflect.Type) error {
	descriptor, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	if err != nil {
		return err
	}
	form, err := protobuf.JSONOf(types...)
	if err != nil {
		return err
	}
	for i, of := range types {
		plan, err := protobuf.PlanOf(of)
		if err != nil {
			return err
		}
		message := descriptor.Messages().ByName(protoreflect.Name(fmt.Sprint("Type", i)))
		for range 5 {
			v := reflect.New(of)
			typetest.Fill(r, v.Elem(), 5)
			if err := errors.Join(roundTrip(plan, message, v), roundTripJSON(form, plan, message, v)); err != nil {
				return fmt.Errorf("%v: %+v: %w", of, v.Elem(), err)
			}
		}
	}
	return nil
}

func roundTrip(plan *protobuf.Plan, message protoreflect.MessageDescriptor, v reflect.Value) error {
	ours, err := plan.Append(nil, v.Interface())
	if err != nil {
		return fmt.Errorf("cannot be written: %w", err)
	}
	official := dynamicpb.NewMessage(message)
	if err := proto.Unmarshal(ours, official); err != nil {
		return fmt.Errorf("the official runtime cannot read %x: %w", ours, err)
	}
	if hasUnknown(official) {
		return fmt.Errorf("the descriptor does not have all of %x: %v", ours, official)
	}
	theirs, err := proto.Marshal(official)
	if err != nil {
		return err
	}
	back := reflect.New(v.Type().Elem())
	if err := plan.Decode(theirs, back.Interface()); err != nil {
		return fmt.Errorf("we cannot read %x: %w", theirs, err)
	}
	if described, err := gotype.Of(v.Type().Elem()); err != nil || !same(described, v.Elem(), back.Elem()) {
		return fmt.Errorf("came back as %+v, %w", back.Elem(), err)
	}
	again, err := plan.Append(nil, back.Interface())
	if err != nil {
		return err
	}
	second := dynamicpb.NewMessage(message)
	if err := proto.Unmarshal(again, second); err != nil {
		return err
	}
	if !proto.Equal(official, second) {
		return fmt.Errorf("wrote %v, read and wrote again %v", official, second)
	}
	return nil
}

// same reports whether a and b are the same but for what Protocol Buffers cannot distinguish:
// nothing, and a message or a list without anything in it.
func same(t *gotype.Type, a, b reflect.Value) bool {
	switch t.Kind {
	case gotype.Pointer:
		if a.IsNil() && b.IsNil() {
			return true
		}
		return same(t.Elem, orZero(a), orZero(b))
	case gotype.List, gotype.Map:
		if a.Len() != b.Len() {
			return false
		}
		if t.Kind == gotype.List {
			for i := range a.Len() {
				if !same(t.Elem, a.Index(i), b.Index(i)) {
					return false
				}
			}
			return true
		}
		for entries := a.MapRange(); entries.Next(); {
			if other := b.MapIndex(entries.Key()); !other.IsValid() || !same(t.Elem, entries.Value(), other) {
				return false
			}
		}
		return true
	case gotype.Struct:
		for _, f := range t.Fields {
			x, errX := a.FieldByIndexErr(f.Index)
			y, errY := b.FieldByIndexErr(f.Index)
			if errX != nil {
				x = reflect.Zero(f.Type.Go)
			}
			if errY != nil {
				y = reflect.Zero(f.Type.Go)
			}
			if !same(f.Type, x, y) {
				return false
			}
		}
		return true
	case gotype.Bytes:
		return bytes.Equal(a.Bytes(), b.Bytes())
	default:
		return reflect.DeepEqual(a.Interface(), b.Interface()) || fmt.Sprint(a) == fmt.Sprint(b)
	}
}

func orZero(pointer reflect.Value) reflect.Value {
	if pointer.IsNil() {
		return reflect.Zero(pointer.Type().Elem())
	}
	return pointer.Elem()
}

func hasUnknown(m protoreflect.Message) bool {
	unknown := len(m.GetUnknown()) > 0
	m.Range(func(_ protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		each(v, func(inner protoreflect.Message) { unknown = unknown || hasUnknown(inner) })
		return !unknown
	})
	return unknown
}

// The fields of embedded structs are those of the struct around them, by the rules of
// JSON, also where the embedded is a pointer.
func TestEmbeddingFollowsJSON(t *testing.T) {
	t.Parallel()
	type shadowing struct {
		typetest.Audit
		*typetest.Base
		By int
	}
	file, err := protobuf.FileOf(reflect.TypeFor[shadowing]())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range file.GetMessageType()[0].GetField() {
		names = append(names, f.GetName()+" "+f.GetType().String())
	}
	if got := strings.Join(names, ", "); got != "id TYPE_STRING, by TYPE_INT64" { // two notes are none
		t.Errorf("the fields are %s", got)
	}
	plan, err := protobuf.PlanOf(reflect.TypeFor[shadowing]())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []shadowing{{By: 3}, {Base: &typetest.Base{ID: "x"}, By: 3}} {
		b, err := plan.Append(nil, &want)
		if err != nil {
			t.Fatal(err)
		}
		var got shadowing
		if err := plan.Decode(b, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v came back as %+v, %v", want, got, err)
		}
	}
}

// Messages of fields that have the same Go name, one of them in an embedded struct, have different names.
func TestNestedNames(t *testing.T) {
	t.Parallel()
	type embedded struct {
		Part struct{ A string } `json:"inner"`
	}
	type outer struct {
		embedded
		Part struct{ B int } `json:"outer"`
	}
	file, err := protobuf.FileOf(reflect.TypeFor[outer]())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range file.MessageType {
		names = append(names, m.GetName())
	}
	slices.Sort(names)
	if got := strings.Join(names, " "); got != "Type0 Type0EmbeddedPart Type0Part" {
		t.Errorf("got the messages %s, want Type0, Type0EmbeddedPart and Type0Part", got)
	}
}
