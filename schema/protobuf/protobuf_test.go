package protobuf_test

import (
	"bytes"
	"context"
	"math"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/protobuf"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

var compareAll = cmp.Options{cmpopts.IgnoreUnexported(Everything{}), cmpopts.EquateComparable(everything().Addr), cmp.Comparer(bytes.Equal)}

// What we write, the official runtime reads, and what it writes then, we read.
func TestRoundTripThroughTheOfficialRuntime(t *testing.T) {
	t.Parallel()
	plan, want := planOf[Everything](t), everything()
	ours, err := plan.Append(nil, want)
	if err != nil {
		t.Fatal(err)
	}
	official := dynamicpb.NewMessage(describe(t).Messages().ByName("Everything"))
	if err := proto.Unmarshal(ours, official); err != nil {
		t.Fatal(err)
	}
	if unknown := official.GetUnknown(); len(unknown) > 0 {
		t.Errorf("fields that its descriptor does not have: %x", unknown)
	}
	theirs, err := proto.Marshal(official)
	if err != nil {
		t.Fatal(err)
	}
	var got Everything
	if err := plan.Decode(theirs, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, &got, compareAll, cmp.Comparer(func(a, b *big.Int) bool { return a == b || a != nil && b != nil && a.Cmp(b) == 0 })); diff != "" {
		t.Errorf("(-sent +received)\n%s", diff)
	}
}

// A zero message is no bytes, but for what was set to zero by a pointer.
func TestZeroIsNil(t *testing.T) {
	t.Parallel()
	if b, err := planOf[Everything](t).Append(nil, &Everything{}); err != nil || len(b) != 0 {
		t.Errorf("%x, %v", b, err)
	}
	negative := &Everything{Float64: math.Copysign(0, -1)}
	b, err := planOf[Everything](t).Append(nil, negative)
	if err != nil || len(b) == 0 {
		t.Errorf("negative zero is lost: %x, %v", b, err)
	}
}

func TestAppendRefuses(t *testing.T) {
	t.Parallel()
	plan := planOf[Everything](t)
	for name, message := range map[string]any{
		"string": &Everything{String: "\xff"}, "strings[1]": &Everything{Strings: []string{"", "\xff"}}, "by_name": &Everything{ByName: map[string]Inner{"\xff": {}}},
		"time": &Everything{Time: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, "cannot encode a *protobuf_test.Inner: want a *protobuf_test.Everything": &Inner{}, "cannot encode a nil *protobuf_test.Everything": (*Everything)(nil),
	} {
		if _, err := plan.Append(nil, message); err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), " [", "["), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDecodeNamesTheField(t *testing.T) {
	t.Parallel()
	plan := planOf[Everything](t)
	for name, c := range map[string]struct {
		build       func() []byte
		field, text string
	}{
		"invalid UTF-8":  {func() []byte { return encode(t, "string", []byte("\xff")) }, "string", "UTF-8"},
		"truncated":      {func() []byte { return encode(t, "string", []byte("abc"))[:4] }, "string", "ends too early"},
		"truncated list": {func() []byte { return encode(t, "ints", []byte{1, 2, 3})[:4] }, "ints", "ends too early"},
		"out of range":   {func() []byte { return encode(t, "int8", uint64(128)) }, "int8", "must be a whole number from -128 to 127"},
		"inner":          {func() []byte { return encode(t, "inner", []byte{10, 1, 0xff}) }, "inner.name", "UTF-8"},
		"item":           {func() []byte { return encode(t, "inners", []byte{10, 1, 0xff}) }, "inners[0].name", "UTF-8"},
		"addr":           {func() []byte { return encode(t, "addr", []byte("nowhere")) }, "addr", "unable to parse IP"},
		"field zero":     {func() []byte { return []byte{0} }, "", "not well-formed"},
		"nanoseconds":    {func() []byte { return encode(t, "time", []byte{16, 0x80, 0x94, 0xeb, 0xdc, 0x03}) }, "time", "must be a time"},
		"duration":       {func() []byte { return encode(t, "duration", []byte{16, 0x80, 0x94, 0xeb, 0xdc, 0x03}) }, "duration", ""},
		"time":           {func() []byte { return encode(t, "time", []byte{8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}) }, "time", "must be a time"},
	} {
		err := plan.Decode(c.build(), new(Everything))
		e := chassi.ErrorOf(err)
		if e == nil || e.Code != chassi.InvalidArgument || e.Reason != "malformed_request" || len(e.Violations) != 1 ||
			e.Violations[0].Field != c.field || !strings.Contains(e.Violations[0].Message, c.text) {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

// A plan is made once for a type, and decodes into pointers to it alone.
func TestPlanIsOfOneType(t *testing.T) {
	t.Parallel()
	plan := planOf[Inner](t)
	if plan != planOf[Inner](t) {
		t.Error("two plans of one type")
	}
	for _, into := range []any{Inner{}, (*Inner)(nil), new(Everything)} {
		if err := plan.Decode(nil, into); err == nil {
			t.Errorf("decodes into %T", into)
		}
	}
}

// encode writes one field by its number in the descriptor.
func encode(t *testing.T, field string, value any) []byte {
	t.Helper()
	number := describe(t).Messages().ByName("Everything").Fields().ByName(protoName(field)).Number()
	return appendField(number, value)
}

func TestNestingIsBounded(t *testing.T) {
	t.Parallel()
	plan := planOf[Inner](t)
	for depth, ok := range map[int]bool{99: true, 100: false} {
		v := Inner{}
		for range depth {
			v = Inner{Deep: []Inner{v}}
		}
		b, err := plan.Append(nil, &v)
		if err != nil {
			t.Fatal(err)
		}
		if err := plan.Decode(b, new(Inner)); (err == nil) != ok {
			t.Errorf("%d levels inside: %v", depth, err)
		}
	}
}

type clash struct {
	A string `json:"a" proto:"2"`
	B string `json:"b"`
}

// narrow, wide and negative have a value that their types cannot hold; unsigned has none.
type (
	narrow   int8
	wide     uint8
	negative uint8
	unsigned uint8
)

func (wide) EnumNames() map[int32]string     { return map[int32]string{0: "None", 256: "More"} }
func (negative) EnumNames() map[int32]string { return map[int32]string{0: "None", -1: "Less"} }
func (unsigned) EnumNames() map[int32]string { return map[int32]string{0: "None", 255: "Most"} }

func (narrow) EnumNames() map[int32]string {
	return map[int32]string{0: "None", 127: "Most", 128: "More"}
}

// Types that no message can hold are named when the plan is made, not when a
// call comes.
func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	for want, v := range map[string]any{
		"number 2":                                       clash{},
		"any cannot be in a message":                     struct{ A any }{},
		"chan int: a chan cannot":                        struct{ A []chan int }{},
		"[]string cannot be in":                          struct{ A [][]string }{},
		"keys of a map":                                  struct{ A map[float64]string }{},
		"uintptr cannot be in":                           struct{ A map[uintptr]string }{},
		"narrow has value 128, which int8 cannot hold":   struct{ A narrow }{},
		"wide has value 256, which uint8 cannot hold":    struct{ A wide }{},
		"negative has value -1, which uint8 cannot hold": struct{ A negative }{},
		"want a number from 1 to 536870911": struct {
			A int `proto:"x"`
		}{},
		"number 19000": struct {
			A int `proto:"19000"`
		}{},
		"the names a and a of fields A and B conflict": struct {
			A int `json:"a"`
			B int `json:"A"` //nolint:tagliatelle // the clash is what is tested
		}{},
	} {
		if _, err := protobuf.PlanOf(reflect.TypeOf(v)); err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "interface {}", "any"), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := protobuf.PlanOf(reflect.TypeFor[struct{ A unsigned }]()); err != nil {
		t.Error(err)
	}
}

func TestFileRefusesTwoTypesOfOneName(t *testing.T) {
	t.Parallel()
	type Inner struct{ X string }
	a := func(context.Context, *Inner) (*struct{}, error) { return nil, nil }
	b := func(context.Context, *Everything) (*struct{}, error) { return nil, nil }
	_, err := protobuf.File(chassi.NewService("test.v1.Thing", chassi.NewEndpoint("A", a), chassi.NewEndpoint("B", b)))
	if err == nil || !strings.Contains(err.Error(), "have the same name Inner") {
		t.Error(err)
	}
}

const wantText = `service Thing {
  // Do does it.
  // Twice.
  rpc Do(Everything) returns (DoResponse) {
    option idempotency_level = IDEMPOTENT;
  }
}
`

// appended has the method AppendText, but not MarshalText.
type appended struct{ text string }

func (a appended) AppendText(b []byte) ([]byte, error) { return append(b, a.text...), nil }
func (a *appended) UnmarshalText(b []byte) error       { a.text = string(b); return nil }

func TestTypeWithAppendText(t *testing.T) {
	t.Parallel()
	type message struct{ A appended }
	plan, err := protobuf.PlanOf(reflect.TypeFor[message]())
	if err != nil {
		t.Fatal(err)
	}
	in, out := message{appended{"text"}}, message{}
	body, err := plan.Append(nil, &in)
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Decode(body, &out); err != nil || out != in {
		t.Errorf("%q decoded as %+v, %v", body, out, err)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	file, err := protobuf.File(service())
	if err != nil {
		t.Fatal(err)
	}
	text := protobuf.Text(file)
	for _, want := range []string{
		wantText, "  // Yes or no.\n  bool bool = 2;\n", "  optional int64 maybe_int = 24 [json_name = \"maybe_int\"];\n", "  map<string, Inner> by_name = ",
		"  repeated google.protobuf.Timestamp times = ", "  string renamed_field = 900;\n", "  string path = 46 [json_name = \"Path\"];\n", "enum Color {\n  COLOR_UNSPECIFIED = 0;\n  COLOR_BLUE = -2;\n",
		"import \"google/protobuf/duration.proto\";\nimport \"google/protobuf/timestamp.proto\";\n", "message DoResponse {}\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
}

// protoc reads our .proto file as the very descriptors that reflection serves.
func TestProtocAgrees(t *testing.T) {
	t.Parallel()
	protoc, err := exec.LookPath("protoc")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("protoc is not installed (Debian: protobuf-compiler)")
		}
		t.Skip("protoc is not installed (Debian: protobuf-compiler)")
	}
	file, err := protobuf.File(service())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thing.proto"), []byte(protobuf.Text(file)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), protoc, "-I", dir, "--experimental_allow_proto3_optional", "--descriptor_set_out="+dir+"/out", filepath.Join(dir, "thing.proto")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(dir + "/out")
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(b, &set); err != nil {
		t.Fatal(err)
	}
	theirs := set.GetFile()[0]
	file.SourceCodeInfo, theirs.Name = nil, file.Name
	if !proto.Equal(file, theirs) {
		t.Errorf("ours and protoc's differ:\n%s", cmp.Diff(file.String(), theirs.String()))
	}
}
