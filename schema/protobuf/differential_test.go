package protobuf_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

func protoName(s string) protoreflect.Name { return protoreflect.Name(s) }

func appendField(number protowire.Number, value any) []byte {
	switch v := value.(type) {
	case uint64:
		return protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), v)
	case []byte:
		return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), v)
	default:
		return nil
	}
}

// Plain has every kind but those where we refuse more than the official runtime
// on purpose: integers narrower than 32 bits, text forms, times out of range.
type Plain struct {
	Bool    bool              `json:"bool"`
	Int     int               `json:"int"`
	Int32   int32             `json:"int32"`
	Uint32  uint32            `json:"uint32"`
	Uint64  uint64            `json:"uint64"`
	Float32 float32           `json:"float32"`
	Float64 float64           `json:"float64"`
	String  string            `json:"string"`
	Bytes   []byte            `json:"bytes"`
	Wide    Wide              `json:"wide"`
	Inner   Inner             `json:"inner"`
	Self    *Plain            `json:"self"`
	Maybe   *int32            `json:"maybe"`
	Text    *string           `json:"text"`
	Ints    []int64           `json:"ints"`
	Bools   []bool            `json:"bools"`
	Floats  []float32         `json:"floats"`
	Wides   []Wide            `json:"wides"`
	Strings []string          `json:"strings"`
	Lists   [][]byte          `json:"lists"`
	Inners  []Inner           `json:"inners"`
	Map     map[string]*Inner `json:"map"`
	Counts  map[int32]uint32  `json:"counts"`
	Time    *time.Time        `json:"time"`
	Took    *time.Duration    `json:"took"`
}

type Wide int32

func (Wide) EnumNames() map[int32]string { return map[int32]string{0: "None", 5: "Five"} }

// FuzzDifferential holds us against the official runtime with our own
// descriptors: the same bytes are accepted and refused, and what was read is
// written as the same message again.
func FuzzDifferential(f *testing.F) {
	plan := planOf[Plain](f)
	descriptor := descriptorOf[Plain](f)
	seed, err := plan.Append(nil, &Plain{
		Bool: true, Int: -5, String: "é", Bytes: []byte("b"), Wide: 5, Inner: Inner{Name: "n", Deep: []Inner{{Count: 3}}}, Self: &Plain{Int32: 7},
		Maybe: new(int32), Ints: []int64{1, -1}, Floats: []float32{1.5}, Strings: []string{"", "x"}, Map: map[string]*Inner{"k": {Name: "v"}},
		Counts: map[int32]uint32{-1: 1}, Time: new(time.Unix(1, 2)), Took: new(time.Second + 5),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte{0x0b, 0x0c})                         // a group
	f.Add([]byte{0x42, 0x01, 0xff})                   // text that is not UTF-8
	f.Add([]byte{0x40, 0x05})                         // another wire type
	f.Add([]byte{0x42, 0xff, 0xff, 0xff, 0xff, 0x0f}) // a length past the end
	f.Add([]byte{0x00, 0x01})                         // field 0
	f.Add(appendField(12, appendField(12, appendField(11, appendField(1, []byte("x"))))))
	f.Add(append(appendField(24, []byte{8, 1}), appendField(24, []byte{16, 2})...)) // a time in two pieces
	f.Add(appendField(22, []byte{0x12, 0x02, 0x0a, 0x00, 0x12, 0x02, 0x10, 0x01}))  // an entry with two values
	f.Fuzz(func(t *testing.T, data []byte) {
		var ours Plain
		ourErr := plan.Decode(data, &ours)
		official := dynamicpb.NewMessage(descriptor)
		theirErr, ok := ask(data, official)
		if !ok || theirErr == nil && !knownTimesValid(official) {
			return // they keep any seconds, we want a time
		}
		if (ourErr == nil) != (theirErr == nil) {
			t.Fatalf("ours: %v; official: %v", ourErr, theirErr)
		}
		if ourErr != nil {
			return
		}
		written, err := plan.Append(nil, &ours)
		if err != nil {
			t.Fatal(err)
		}
		back := dynamicpb.NewMessage(descriptor)
		if err := proto.Unmarshal(written, back); err != nil {
			t.Fatalf("%v: %x", err, written)
		}
		dropUnknown(official)
		dropEmptyInner(official)
		dropEmptyInner(back)
		if !proto.Equal(official, back) {
			t.Errorf("read %v\nwrote %v", official, back)
		}
	})
}

// ask tells too whether there was a response: dynamic messages panic over an
// entry of a map whose key has the wrong wire type.
func ask(data []byte, m proto.Message) (err error, ok bool) { //nolint:revive // the error is what is asked for
	defer func() { _ = recover() }()
	err = proto.UnmarshalOptions{RecursionLimit: 100}.Unmarshal(data, m)
	return err, true
}

func descriptorOf[T any](f *testing.F) protoreflect.MessageDescriptor {
	f.Helper()
	return fileOf[T](f).Messages().ByName("Plain")
}

// knownTimesValid reports whether all times and durations in m are ones.
func knownTimesValid(m protoreflect.Message) bool {
	valid := true
	m.Range(func(_ protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		each(v, func(inner protoreflect.Message) { valid = valid && knownTimesValid(inner) })
		return valid
	})
	seconds, nanos := m.Descriptor().Fields().ByName("seconds"), m.Descriptor().Fields().ByName("nanos")
	switch m.Descriptor().FullName() {
	case "google.protobuf.Timestamp":
		s, n := m.Get(seconds).Int(), m.Get(nanos).Int()
		// The year 1 is how Go says "no time".
		return s > -62135596800 && s <= 253402300799 && n >= 0 && n < 1e9
	case "google.protobuf.Duration":
		s, n := m.Get(seconds).Int(), m.Get(nanos).Int()
		return s < 9e9 && s > -9e9 && n > -1e9 && n < 1e9 && (s >= 0 || n <= 0) && (s <= 0 || n >= 0)
	}
	return valid
}

func dropUnknown(m protoreflect.Message) {
	m.SetUnknown(nil)
	m.Range(func(_ protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		each(v, dropUnknown)
		return true
	})
}

// dropEmptyInner clears messages that are there and empty where Go has a struct and no pointer: it
// cannot distinguish the two.
func dropEmptyInner(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		each(v, dropEmptyInner)
		if f.Name() == "inner" && proto.Size(v.Message().Interface()) == 0 {
			m.Clear(f)
		}
		return true
	})
}

// each calls do for each message in v.
func each(v protoreflect.Value, do func(protoreflect.Message)) {
	switch x := v.Interface().(type) {
	case protoreflect.Message:
		do(x)
	case protoreflect.List:
		for i := range x.Len() {
			each(x.Get(i), do)
		}
	case protoreflect.Map:
		x.Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
			each(v, do)
			return true
		})
	}
}
