package gotype_test

import (
	"encoding/json"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/schema/gotype"
	"github.com/go-json-experiment/json/jsontext"
)

type (
	color  uint8
	level  int
	inner  struct{ A, B int }
	Base   struct{ ID, Name string }
	Other  struct{ Name string }
	Tagged struct {
		Title string `json:"Name"`
	}
	Deep struct {
		Base
		Other
	}
	shadowed struct {
		Base
		ID int `json:"ID"`
	}
	byPointer struct {
		*Base
		Last string
	}
	params struct {
		Paging
		ID    string `json:"-" path:"id"`
		Limit int    `json:"-" query:"limit"`
		Trace string `json:"trace" header:"X-Trace"`
	}
	Paging struct {
		Limit int    `json:"-" query:"limit"`
		Page  string `json:"page" query:"page"`
	}
	options struct {
		Big   int64    `json:"big,string"`
		Maybe string   `json:"maybe,omitempty"`
		Num   int      `json:"num,omitempty"`
		Zero  int      `json:"zero,omitzero"`
		Gone  chan int `json:"-"`
	}
	open struct {
		Known int
		Rest  map[string]int `json:",embed"`
	}
	tree        []tree
	names       map[string]names
	loop        *loop
	list[T any] struct {
		Items []T
		Next  *list[T]
	}
)

func (level) MarshalText() ([]byte, error) { return []byte("x"), nil }
func (color) EnumNames() map[int32]string  { return map[int32]string{0: "None"} }

// fields writes those of a struct: "JSON>source:name".
func fields(t *gotype.Type) string {
	var all []string
	for _, f := range t.Fields {
		text := f.JSON
		if f.Source != "" {
			text += ">" + f.Source + ":" + f.Param
		}
		if f.Omits() {
			text += "?"
		}
		if f.Quoted {
			text += "'"
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

func TestFieldsFollowTheRulesOfJSON(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		of   any
		want string
	}{
		{inner{}, "A B"},
		{Deep{}, "ID"}, // two of one name, equally deep
		{struct {
			Base
			Tagged
		}{}, "ID Name"}, // one whose name is in a tag
		{struct {
			Tagged
			Base
		}{}, "Name ID"}, // in whichever order
		{shadowed{}, "Name ID"},
		{struct {
			A int
			b int
		}{}, "A"},
		{struct {
			Base `json:"-" query:"base"`
			A    int
		}{}, ">query:base A"},
		{struct {
			D time.Duration `json:"d,string"`
			F *float64      `json:"f,string"`
			U uint8         `json:"u,string"`
		}{}, "d' f' u'"},
		{struct {
			A netip.Addr `json:"a,string"`
		}{}, "a'"}, // always a string
		{byPointer{}, "ID? Name? Last"},
		{params{}, "page>query:page >path:id >query:limit trace>header:X-Trace"},
		{options{}, "big' maybe? num zero?"},
		{open{}, "Known"},
		{struct {
			Base `json:"base"`
		}{}, "base"},
	} {
		described, err := gotype.Of(reflect.TypeOf(c.of))
		if err != nil {
			t.Errorf("%T: %v", c.of, err)
			continue
		}
		if got := fields(described); got != c.want {
			t.Errorf("%T has the fields %q, want %q", c.of, got, c.want)
		}
	}
}

// Of two fields with one name, equally deep, the one whose name is in a tag is carried,
// wherever it stands.
func TestATaggedFieldWins(t *testing.T) {
	t.Parallel()
	for _, of := range []any{
		struct {
			Tagged
			Other
		}{},
		struct {
			Other
			Tagged
		}{},
	} {
		described, err := gotype.Of(reflect.TypeOf(of))
		if err != nil || len(described.Fields) != 1 || described.Fields[0].Name != "Title" {
			t.Errorf("%T has the fields %+v, want Title; %v", of, described.Fields, err)
		}
	}
}

func TestKindsAndForms(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		of             reflect.Type
		kind           gotype.Kind
		encode, decode gotype.Form
	}{
		{reflect.TypeFor[[]byte](), gotype.Bytes, gotype.Native, gotype.Native},
		{reflect.TypeFor[[4]byte](), gotype.Bytes, gotype.Native, gotype.Native},
		{reflect.TypeFor[[]color](), gotype.List, gotype.Native, gotype.Native},
		{reflect.TypeFor[[2]color](), gotype.Array, gotype.Native, gotype.Native},
		{reflect.TypeFor[color](), gotype.Uint, gotype.Native, gotype.Native},
		{reflect.TypeFor[level](), gotype.Int, gotype.Text, gotype.Native},
		{reflect.TypeFor[time.Time](), gotype.Time, gotype.Native, gotype.Native},
		{reflect.TypeFor[time.Duration](), gotype.Duration, gotype.Native, gotype.Native},
		{reflect.TypeFor[big.Int](), gotype.Opaque, gotype.JSON, gotype.JSON},
		{reflect.TypeFor[*big.Int](), gotype.Pointer, gotype.Native, gotype.Native},
		{reflect.TypeFor[netip.Addr](), gotype.Opaque, gotype.Text, gotype.Text},
		{reflect.TypeFor[json.RawMessage](), gotype.Opaque, gotype.JSON, gotype.JSON},
		{reflect.TypeFor[jsontext.Value](), gotype.Opaque, gotype.JSON, gotype.JSON},
		{reflect.TypeFor[any](), gotype.Any, gotype.Native, gotype.Native},
		{reflect.TypeFor[map[netip.Addr]int](), gotype.Map, gotype.Native, gotype.Native},
		{reflect.TypeFor[tree](), gotype.List, gotype.Native, gotype.Native},
		{reflect.TypeFor[names](), gotype.Map, gotype.Native, gotype.Native},
		{reflect.TypeFor[list[int]](), gotype.Struct, gotype.Native, gotype.Native},
		{reflect.TypeFor[*list[string]](), gotype.Pointer, gotype.Native, gotype.Native},
	} {
		got, err := gotype.Of(c.of)
		if err != nil {
			t.Errorf("%v: %v", c.of, err)
			continue
		}
		if got.Kind != c.kind || got.Encode != c.encode || got.Decode != c.decode {
			t.Errorf("%v is %+v", c.of, got)
		}
	}
}

func TestUnencodableTypesAreRejected(t *testing.T) {
	t.Parallel()
	conflict := reflect.Zero(reflect.StructOf([]reflect.StructField{ // go vet finds it otherwise
		{Name: "A", Type: reflect.TypeFor[int](), Tag: `json:"a"`}, {Name: "B", Type: reflect.TypeFor[int](), Tag: `json:"a"`},
	})).Interface()
	for want, of := range map[string]any{
		"field C: chan int":               struct{ C chan int }{},
		"field L: field F: func()":        struct{ L []struct{ F func() } }{},
		"field N: complex128":             struct{ N complex128 }{},
		"field M: map[bool]int: the keys": struct{ M map[bool]int }{},
		"field E: error: an interface":    struct{ E error }{},
		"field P: gotype_test.loop":       struct{ P loop }{},
		"conflict over JSON object name":  conflict,
		"field B: bool: the JSON option \"string\"": struct {
			B bool `json:",string"`
		}{},
		"unsupported `format`": struct {
			T time.Time `json:",format:unix"`
		}{},
		"no exported fields": struct{ a int }{},
		"invalid appearance of `omitEmpty`": struct {
			A int `json:",omitEmpty"`
		}{},
		"field inner: a pointer to an": struct{ *inner }{},
	} {
		if _, err := gotype.Of(reflect.TypeOf(of)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%T: %v, want %q", of, err, want)
		}
	}
}
