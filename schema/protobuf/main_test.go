package protobuf_test

import (
	"context"
	"math/big"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/protobuf"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	_ "google.golang.org/protobuf/types/known/durationpb"
	_ "google.golang.org/protobuf/types/known/timestamppb"
)

// Everything has a field of every kind.
type Everything struct {
	Base
	Bool    bool      `json:"bool" doc:"Yes or no."`
	Int     int       `json:"int"`
	Int8    int8      `json:"int8"`
	Int16   int16     `json:"int16"`
	Int32   int32     `json:"int32"`
	Uint    uint      `json:"uint"`
	Uint8   uint8     `json:"uint8"`
	Uint16  uint16    `json:"uint16"`
	Uint32  uint32    `json:"uint32"`
	Uint64  uint64    `json:"uint64"`
	Float32 float32   `json:"float32"`
	Float64 float64   `json:"float64"`
	String  string    `json:"string"`
	Bytes   []byte    `json:"bytes"`
	Color   Color     `json:"color"`
	Time    time.Time `json:"time"`

	Duration time.Duration `json:"duration"`
	Addr     netip.Addr    `json:"addr"`
	Big      *big.Int      `json:"big"`
	Inner    Inner         `json:"inner"`
	Pointer  *Inner        `json:"pointer"`
	Self     *Everything   `json:"self"`

	MaybeInt    *int           `json:"maybe_int"`
	MaybeString *string        `json:"maybe_string"`
	MaybeBytes  *[]byte        `json:"maybe_bytes"`
	MaybeColor  *Color         `json:"maybe_color"`
	MaybeTime   *time.Time     `json:"maybe_time"`
	MaybeLong   *time.Duration `json:"maybe_long"`

	Ints      []int64         `json:"ints"`
	Bools     []bool          `json:"bools"`
	Floats    []float64       `json:"floats"`
	Colors    []Color         `json:"colors"`
	Strings   []string        `json:"strings"`
	Lists     [][]byte        `json:"lists"`
	Times     []time.Time     `json:"times"`
	Durations []time.Duration `json:"durations"`
	Inners    []Inner         `json:"inners"`
	Pointers  []*Inner        `json:"pointers"`

	ByName  map[string]Inner     `json:"by_name"`
	ByID    map[int32]*Inner     `json:"by_id"`
	Names   map[uint8]string     `json:"names"`
	Numbers map[uint64]float32   `json:"numbers"`
	Dates   map[string]time.Time `json:"dates"`

	Tagged  string   `json:"renamedField" proto:"900"` //nolint:tagliatelle // to be spelled in snake_case
	Path    string   `json:"-" path:"path"`
	Skipped chan int `json:"-"`
}

type Base struct {
	ID string `json:"id"`
}

type Inner struct {
	Name  string  `json:"name"`
	Count int32   `json:"count"`
	Deep  []Inner `json:"deep"`
}

type Color int8

const (
	Red  Color = 1
	Blue Color = -2
)

func (Color) EnumNames() map[int32]string {
	return map[int32]string{0: "Unspecified", 1: "Red", -2: "Blue"}
}

func everything() *Everything {
	at := time.Date(2026, 11, 21, 10, 0, 0, 123456789, time.UTC)
	n, s, b, d, c := 0, "", []byte{}, -1500*time.Millisecond, Blue
	return &Everything{
		Base: Base{ID: "id"}, Bool: true, Int: -1, Int8: -128, Int16: 32767, Int32: -2147483648, Uint: 1 << 63, Uint8: 255, Uint16: 65535,
		Uint32: 1<<32 - 1, Uint64: 1<<64 - 1, Float32: 1.5, Float64: -2.25, String: "grüße", Bytes: []byte{0, 255}, Color: Red, Time: at,
		Duration: d, Addr: netip.MustParseAddr("2001:db8::1"), Big: big.NewInt(12345), Inner: Inner{Name: "in", Deep: []Inner{{Count: 1}, {}}},
		Pointer: &Inner{}, Self: &Everything{String: "self"}, MaybeInt: &n, MaybeString: &s, MaybeBytes: &b, MaybeColor: &c, MaybeTime: &at, MaybeLong: &d,
		Ints: []int64{0, -1, 1 << 40}, Bools: []bool{true, false}, Floats: []float64{0, 1}, Colors: []Color{0, Red, Blue}, Strings: []string{"", "a"},
		Lists: [][]byte{{}, {1}}, Times: []time.Time{at, time.Unix(0, 0).UTC()}, Durations: []time.Duration{0, d}, Inners: []Inner{{}, {Name: "x"}},
		Pointers: []*Inner{{}, {Count: 7}}, ByName: map[string]Inner{"": {}, "k": {Name: "v"}}, ByID: map[int32]*Inner{-1: {Count: 1}},
		Names: map[uint8]string{1: "t", 0: ""}, Numbers: map[uint64]float32{0: 0, 7: 1}, Dates: map[string]time.Time{"d": at},
		Tagged: "tagged", Path: "path",
	}
}

func service() *chassi.Service {
	method := func(context.Context, *Everything) (*struct{}, error) { return &struct{}{}, nil }
	return chassi.NewService("test.v1.Thing", chassi.NewEndpoint("Do", method, chassi.Public, chassi.Idempotent, chassi.Doc("Do does it.\nTwice.")))
}

func planOf[T any](t testing.TB) *protobuf.Plan {
	t.Helper()
	p, err := protobuf.PlanOf(reflect.TypeFor[T]())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// describe hands our descriptors to the official runtime.
func describe(t testing.TB) protoreflect.FileDescriptor {
	t.Helper()
	file, err := protobuf.File(service())
	if err != nil {
		t.Fatal(err)
	}
	descriptor, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return descriptor
}

// fileOf describes a service with one message.
func fileOf[T any](t testing.TB) protoreflect.FileDescriptor {
	t.Helper()
	method := func(context.Context, *T) (*struct{}, error) { return &struct{}{}, nil }
	file, err := protobuf.File(chassi.NewService("test.v1.One", chassi.NewEndpoint("Do", method)))
	if err != nil {
		t.Fatal(err)
	}
	return newDescriptor(t, file)
}

func newDescriptor(t testing.TB, file *descriptorpb.FileDescriptorProto) protoreflect.FileDescriptor {
	t.Helper()
	descriptor, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return descriptor
}
