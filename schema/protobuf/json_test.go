package protobuf_test

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/gotype"
	"github.com/chassi-go/chassi/schema/protobuf"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

const maxDepth = 64

// roundTripJSON compares the JSON form of a value with that of package protojson, and reads
// each with the other one.
func roundTripJSON(form *protobuf.JSON, plan *protobuf.Plan, message protoreflect.MessageDescriptor, v reflect.Value) error {
	wire, err := plan.Append(nil, v.Interface())
	if err != nil {
		return err
	}
	official := dynamicpb.NewMessage(message)
	if err := proto.Unmarshal(wire, official); err != nil {
		return err
	}
	ours, err := form.Append(nil, plan, v.Interface())
	if err != nil {
		return fmt.Errorf("cannot be written as JSON: %w", err)
	}
	read := dynamicpb.NewMessage(message)
	if err := protojson.Unmarshal(ours, read); err != nil {
		return fmt.Errorf("protojson cannot read %s: %w", ours, err)
	}
	if !proto.Equal(official, read) {
		return fmt.Errorf("protojson reads %s as %v, want %v", ours, read, official)
	}
	theirs, err := protojson.Marshal(official)
	if err != nil {
		return err
	}
	if a, b := parsed(ours), parsed(theirs); !reflect.DeepEqual(a, b) {
		return fmt.Errorf("wrote %s, protojson writes %s", ours, theirs)
	}
	byProtoName, err := protojson.MarshalOptions{UseProtoNames: true, UseEnumNumbers: true, Multiline: true}.Marshal(official)
	if err != nil {
		return err
	}
	for _, text := range [][]byte{theirs, byProtoName} {
		back := reflect.New(v.Type().Elem())
		if err := form.Decode(text, plan, back.Interface(), maxDepth); err != nil {
			return fmt.Errorf("we cannot read %s: %+v", text, err.(*chassi.Error).Violations)
		}
		if described, err := gotype.Of(v.Type().Elem()); err != nil || !same(described, v.Elem(), back.Elem()) {
			return fmt.Errorf("%s came back as %+v, %w", text, back.Elem(), err)
		}
	}
	return nil
}

// parsed returns a JSON value with its numbers as float64, because the same number can be
// written in several ways.
func parsed(text []byte) (v any) {
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	return v
}

func jsonOf[T any](t testing.TB) (*protobuf.JSON, *protobuf.Plan) {
	t.Helper()
	form, err := protobuf.JSONOf(reflect.TypeFor[T]())
	if err != nil {
		t.Fatal(err)
	}
	return form, planOf[T](t)
}

// The names of enums are those of the services' file.
func TestJSONOfServices(t *testing.T) {
	t.Parallel()
	form, err := protobuf.NewJSON(service())
	if err != nil {
		t.Fatal(err)
	}
	plan := planOf[Everything](t)
	message := describe(t).Messages().ByName("Everything")
	for _, v := range []*Everything{{}, everything()} {
		if err := roundTripJSON(form, plan, message, reflect.ValueOf(v)); err != nil {
			t.Error(err)
		}
	}
	text, err := form.Append(nil, plan, everything())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"color":"COLOR_RED"`, `"colors":["COLOR_UNSPECIFIED","COLOR_RED","COLOR_BLUE"]`, `"int":"-1"`, `"uint64":"18446744073709551615"`, `"int32":-2147483648`,
		`"bytes":"AP8="`, `"time":"2026-11-21T10:00:00.123456789Z"`, `"duration":"-1.500s"`, `"renamedField":"tagged"`, `"maybe_int":"0"`, `"by_id":{"-1":{"count":1}}`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
}

func TestJSONValues(t *testing.T) {
	t.Parallel()
	form, plan := jsonOf[Everything](t)
	for text, want := range map[string]Everything{
		`{}`:                      {},
		"\n{ \"bool\" : true }\t": {Bool: true},
		`{"string":null,"ints":null,"inner":null,"by_name":null,"int":null}`: {},
		`{"tagged":"x"}`:           {},
		`{"renamed_field":"x"}`:    {Tagged: "x"},
		`{"int":9007199254740993}`: {Int: 9007199254740993},
		`{"int":"-9223372036854775808","uint":"18446744073709551615"}`:     {Int: math.MinInt64, Uint: math.MaxUint64},
		`{"int32":1.5e1,"int":"1e3","uint":10.0,"int8":-0,"uint8":-0.0e5}`: {Int32: 15, Int: 1000, Uint: 10},
		`{"float64":"Infinity","float32":"1.5"}`:                           {Float64: math.Inf(1), Float32: 1.5},
		`{"bytes":"_-8"}`:                                                  {Bytes: []byte{255, 239}},
		`{"bytes":"/+8="}`:                                                 {Bytes: []byte{255, 239}},
		`{"color":"COLOR_BLUE"}`:                                           {Color: Blue},
		`{"color":-2}`:                                                     {Color: Blue},
		`{"time":"2026-11-21T11:00:00.5+01:00"}`:                           {Time: time.Date(2026, 11, 21, 10, 0, 0, 5e8, time.UTC)},
		`{"duration":"-0.000000001s"}`:                                     {Duration: -1},
		`{"string":"\u00e9\ud83d\ude00"}`:                                  {String: "é😀"},
	} {
		var got Everything
		err := form.Decode([]byte(text), plan, &got, maxDepth)
		if strings.Contains(text, `"tagged"`) {
			if err == nil {
				t.Errorf("%s was taken", text)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s was read as %+v, %v", text, got, err)
		}
	}
}

func TestJSONNamesTheField(t *testing.T) {
	t.Parallel()
	form, plan := jsonOf[Everything](t)
	deep := strings.Repeat(`{"self":`, maxDepth) + "{}" + strings.Repeat("}", maxDepth)
	for text, want := range map[string]string{
		``:                                    " is not valid JSON at byte 0",
		`[]`:                                  " the body must be a JSON object",
		`null`:                                " the body must be a JSON object",
		`{"bool":true`:                        " is not valid JSON at byte 12",
		`{"bool":tru}`:                        "bool is not valid JSON at byte 11",
		`{"bool":true}x`:                      " the JSON object must not be followed by more data",
		`{"bool":true}{}`:                     " the JSON object must not be followed by more data",
		`{"bool":"true"}`:                     "bool must be a JSON boolean",
		`{"bool":{"secret":1}}`:               "bool must be a JSON boolean",
		`{"string":1}`:                        "string must be a JSON string",
		`{"string":true}`:                     "string must be a JSON string",
		`{"int32":2147483648}`:                "int32 must be a whole number from -2147483648 to 2147483647",
		`{"int32":true}`:                      "int32 must be a whole number from -2147483648 to 2147483647",
		`{"int8":128}`:                        "int8 must be a whole number from -128 to 127",
		`{"uint8":-1}`:                        "uint8 must be a whole number from 0 to 255",
		`{"uint64":1e20}`:                     "uint64 must be a whole number from 0 to 18446744073709551615",
		`{"uint64":1e99999999999999999999}`:   "uint64 must be a whole number from 0 to 18446744073709551615",
		`{"uint64":1e9223372036854775807}`:    "uint64 must be a whole number from 0 to 18446744073709551615",
		`{"uint64":"1e9223372036854775807"}`:  "uint64 must be a whole number from 0 to 18446744073709551615",
		`{"uint64":0.1e-9223372036854775808}`: "uint64 must be a whole number from 0 to 18446744073709551615",
		`{"uint64":1e-9223372036854775808}`:   "uint64 must be a whole number from 0 to 18446744073709551615",
		`{"uint64":1e999999999}`:              "uint64 must be a whole number from 0 to 18446744073709551615",
		`{"int":1.5}`:                         "int must be a whole number from -9223372036854775808 to 9223372036854775807",
		`{"int":" 1"}`:                        "int must be a whole number from -9223372036854775808 to 9223372036854775807",
		`{"int":"01"}`:                        "int must be a whole number from -9223372036854775808 to 9223372036854775807",
		`{"float32":1e39}`:                    `float32 must be a JSON number in range, "NaN", "Infinity" or "-Infinity"`,
		`{"float64":"inf"}`:                   `float64 must be a JSON number in range, "NaN", "Infinity" or "-Infinity"`,
		`{"bytes":"?"}`:                       "bytes must be a JSON string in base64",
		`{"color":"Red"}`:                     "color must be the name of a value of the enum, or a whole number from -2147483648 to 2147483647",
		`{"color":1e10}`:                      "color must be the name of a value of the enum, or a whole number from -2147483648 to 2147483647",
		`{"color":300}`:                       "color must be a whole number from -128 to 127",
		`{"time":"2026-11-21"}`:               "time must be a JSON string with a time such as 2006-01-02T15:04:05Z, in the years 1 to 9999, with at most 9 decimal places",
		`{"time":"2026-11-21T10:00:00.1234567890Z"}`: "time must be a JSON string with a time such as 2006-01-02T15:04:05Z, in the years 1 to 9999, with at most 9 decimal places",
		`{"duration":"1"}`:                           "duration must be a JSON string with a duration in seconds such as 1.5s, within 292 years, with at most 9 decimal places",
		`{"duration":"01s"}`:                         "duration must be a JSON string with a duration in seconds such as 1.5s, within 292 years, with at most 9 decimal places",
		`{"duration":"315576000000s"}`:               "duration must be a duration within 292 years",
		`{"addr":"nowhere"}`:                         "addr ParseAddr(\"…\"): unable to parse IP",
		`{"maybe_int":"x"}`:                          "maybe_int must be a whole number from -9223372036854775808 to 9223372036854775807",
		`{"ints":1}`:                                 "ints must be a JSON array",
		`{"ints":[1,null]}`:                          "ints[1] must be a whole number from -9223372036854775808 to 9223372036854775807",
		`{"inners":[{},{"name":1}]}`:                 "inners[1].name must be a JSON string",
		`{"inners":[null]}`:                          "inners[0] must be a JSON object",
		`{"by_name":{"a":{"count":"x"}}}`:            `by_name["a"].count must be a whole number from -2147483648 to 2147483647`,
		`{"by_name":{"a":{},"a":{}}}`:                "by_name is given twice",
		`{"by_id":{"x":{}}}`:                         `by_id["x"] must be a whole number from -2147483648 to 2147483647`,
		`{"names":{"1":null}}`:                       `names["1"] must be a JSON string`,
		`{"bool":true,"bool":true}`:                  " is given twice",
		`{"renamedField":"","renamed_field":""}`:     "renamedField is given twice",
		`{"Bool":true}`:                              "Bool is not a known member",
		`{"a\u0000b":true}`:                          "a b is not a known member",
		`{"inner":{"other":1}}`:                      "inner.other is not a known member",
		"{\"string\":\"\xff\"}":                      "string is not valid JSON at byte 11",
		deep:                                         strings.Repeat("self.", 20) + "… nests deeper than 64 levels",
	} {
		err := form.Decode([]byte(text), plan, new(Everything), maxDepth)
		e := chassi.ErrorOf(err)
		if e == nil || e.Code != chassi.InvalidArgument || e.Reason != "malformed_request" || len(e.Violations) != 1 || e.Violations[0].Field+" "+e.Violations[0].Message != want {
			t.Errorf("%s: %+v, want %s", text, e, want)
		}
	}
}

// FuzzJSON compares with package protojson: the same texts are accepted and refused, and what
// was read is the same message.
func FuzzJSON(f *testing.F) {
	form, plan := jsonOf[Plain](f)
	file, err := protobuf.FileOf(reflect.TypeFor[Plain]())
	if err != nil {
		f.Fatal(err)
	}
	descriptor := newDescriptor(f, file).Messages().ByName("Type0")
	for _, seed := range []string{
		`{"bool":true,"int":"-5","int32":1e2,"uint64":18446744073709551615,"float32":1.5,"float64":"NaN","string":"é","bytes":"AP8=","wide":"WIDE_FIVE","inner":{"name":"n","deep":[{"count":3}]}}`,
		`{"self":{"int32":7},"maybe":0,"text":null,"ints":[1,"-1"],"bools":[true],"floats":["Infinity"],"wides":[5,6],"strings":["","x"],"lists":["_w"],"inners":[{}],"map":{"k":{"name":"v"}},"counts":{"-1":1}}`,
		`{"time":"2026-11-21T10:00:00.123Z","took":"-1.5s"}`, `{"int":1.50e1,"uint32":0e999}`, `{"int":"1","int":2}`, `[]`, `{"took":"1e3s"}`, `{"took":"00s"}`, `{"took":"+1.s"}`, `{"took":".5s"}`, `{"took":"-s"}`, `{"took":"-.s"}`, `{"took":"+-1s"}`, `{"time":"2026-02-30T10:00:00Z"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var ours Plain
		ourErr := form.Decode([]byte(text), plan, &ours, 1000)
		official := dynamicpb.NewMessage(descriptor)
		theirErr := protojson.UnmarshalOptions{RecursionLimit: 100}.Unmarshal([]byte(text), official)
		if theirErr == nil && !knownTimesValid(official) {
			return // they take durations of 10,000 years
		}
		if (ourErr == nil) != (theirErr == nil) {
			if theirErr == nil && (!json.Valid([]byte(text)) || strings.HasPrefix(fieldOf(ourErr), "counts")) {
				return // they take the number 0e, and the keys +1 and 01
			}
			t.Fatalf("%q: ours: %v; protojson: %v", text, ourErr, theirErr)
		}
		if ourErr != nil {
			return
		}
		written, err := form.Append(nil, plan, &ours)
		if err != nil {
			t.Fatal(err)
		}
		back := dynamicpb.NewMessage(descriptor)
		if err := protojson.Unmarshal(written, back); err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		dropEmptyInner(official)
		dropEmptyInner(back)
		if !proto.Equal(official, back) {
			t.Errorf("read %v\nwrote %v", official, back)
		}
	})
}

func fieldOf(err error) string { return chassi.ErrorOf(err).Violations[0].Field }
