// Package typetest provides Go types and values for differential tests of codecs and of the
// descriptions of types: a corpus of types that package reflect cannot create, random struct types,
// and random values.
package typetest

import (
	"encoding/json"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

type (
	// Color is a named byte type with named values.
	Color uint8
	// Size is an integer type with named values, one of which is negative.
	Size int32
	// Level is a named integer type.
	Level int
	// Name is a named string type.
	Name string
	// ID is an array of bytes.
	ID [16]byte
	// Blob is a slice of bytes.
	Blob []byte
	// Colors is a slice of a named byte type.
	Colors []Color
	// Timeout has the underlying type of a duration, but is encoded as a number.
	Timeout time.Duration

	// Base is embedded in other types.
	Base struct {
		ID   string `json:"id"`
		Note string `json:"note,omitempty"`
	}
	// Audit has a field with the same name as a field of Base.
	Audit struct {
		Note string `json:"note"`
		By   string
	}
	// Owner has a field with the same name as a field of Audit.
	Owner struct{ By, Since int }
	// Renamed has a field whose tag contains the name of a field of Audit.
	Renamed struct {
		Who string `json:"By"`
	}
	// Inner is a struct with a pointer to its own type.
	Inner struct {
		A int8 `json:"a"`
		B *Inner
	}
	// Page is a generic type with one type parameter.
	Page[T any] struct {
		Items []T `json:"items"`
		Next  *Page[T]
	}
	// Pair is a generic type with two type parameters.
	Pair[A, B any] struct {
		First  A
		Second B
	}
	// Größe has a name that is not ASCII.
	Größe struct {
		Höhe int `json:"höhe"`
		Deep int `json:"2fa"`
	}

	// Tree, Names, Row, Link, Node, Ring (by way of RingB) and Fixed are recursive types, each in a
	// different way.
	Tree  []Tree
	Names map[string]Names
	Row   []struct {
		Cells Row
		Of    *Link
	}
	Link struct {
		To    *Link
		Many  []*Link
		Named map[string]*Link
		Any   any
	}
	Node struct {
		*Node
		Value int
	}
	Ring  struct{ Next *RingB }
	RingB struct{ Back []Ring }
	Fixed struct{ At *[2]Fixed }

	// Word is encoded as text, and is decoded from any text.
	Word struct{ text string }
	// Loud is encoded as text and decoded as a number.
	Loud int
	// Raw encodes itself as JSON, and decodes any JSON value without storing it.
	Raw struct{ value string }
)

// EnumNames implements protobuf.Enum.
func (Color) EnumNames() map[int32]string {
	return map[int32]string{0: "None", 1: "Red", 7: "DarkBlue"}
}

// EnumNames implements protobuf.Enum.
func (Size) EnumNames() map[int32]string {
	return map[int32]string{0: "Any", -1: "Small", 1 << 20: "Large"}
}

// MarshalText implements encoding.TextMarshaler.
func (w Word) MarshalText() ([]byte, error) { return []byte(w.text), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (w *Word) UnmarshalText(text []byte) error {
	w.text = string(text)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (l Loud) MarshalText() ([]byte, error) { return []byte(strings.Repeat("!", int(uint8(l)))), nil }

// MarshalJSON implements json.Marshaler.
func (r Raw) MarshalJSON() ([]byte, error) { return json.Marshal([]string{r.value}) }

// UnmarshalJSON implements json.Unmarshaler. It ignores its argument.
func (r *Raw) UnmarshalJSON([]byte) error { return nil }

// Shapes returns struct types that can be encoded as JSON and decoded from it.
func Shapes() []reflect.Type {
	return []reflect.Type{
		reflect.TypeFor[struct{}](), reflect.TypeFor[Base](), reflect.TypeFor[Inner](), reflect.TypeFor[Größe](),
		reflect.TypeFor[Page[string]](), reflect.TypeFor[Page[Pair[string, int]]](), reflect.TypeFor[Page[Base]](), reflect.TypeFor[Page[[]Base]](),
		reflect.TypeFor[Page[*Base]](), reflect.TypeFor[Page[map[string]Color]](), reflect.TypeFor[Pair[[3]int, Page[time.Time]]](),
		reflect.TypeFor[Link](), reflect.TypeFor[Node](), reflect.TypeFor[Ring](), reflect.TypeFor[Fixed](), reflect.TypeFor[Pair[Tree, Names]](), reflect.TypeFor[Pair[Row, int]](),
		reflect.TypeFor[struct {
			Audit
			By int // overrides that of Audit
		}](),
		reflect.TypeFor[struct {
			Audit
			Owner
		}](),
		reflect.TypeFor[struct {
			Renamed
			By int // shallower than the one in a tag
		}](),
		reflect.TypeFor[struct {
			Renamed // counts, because its name is in a tag
			Owner
		}](),
		reflect.TypeFor[struct {
			*Base
			Last string
		}](),
		reflect.TypeFor[struct {
			Base  `json:"base"`
			Audit `json:"audit"`
		}](),
		reflect.TypeFor[struct {
			Plain Base           `json:",embed"`
			Rest  map[string]int `json:",embed"`
		}](),
		reflect.TypeFor[struct {
			Known string
			Rest  jsontext.Value `json:",embed"`
		}](),
		reflect.TypeFor[struct {
			Big   int64           `json:"big,string"`
			Small *uint8          `json:"small,string"`
			Frac  float32         `json:"frac,string"`
			Tint  Color           `json:"tint,string"`
			Took  time.Duration   `json:"took,string"`
			Loud  *Loud           `json:"loud,string"`
			Word  Word            `json:"word,string"`
			Takes []time.Duration `json:"takes,omitempty"`
		}](),
		reflect.TypeFor[struct {
			Colors []Color
			Named  Colors
			Fixed  [2]Color
			Maybe  *Color
			Sizes  map[Size]Size
			Bytes  []byte
			Blob   Blob
			ID     ID
			Odd    [1]byte
			None   [0]byte
			Empty  [0]int `json:",omitempty"`
		}](),
		reflect.TypeFor[struct {
			Keys   map[int8]string
			Counts map[uint64]int
			Floats map[float64]int
			Words  map[Word]Word
			Levels map[Level]Name
			Named  map[Name]Level
			Times  map[time.Time]bool
			Takes  map[time.Duration]bool
			Deep   map[string]map[string][]*Inner
		}](),
		reflect.TypeFor[struct {
			Any   any
			Raw   Raw
			Value jsontext.Value
			Many  []any
			Loud  Loud
			Time  time.Time
			Maybe *time.Time `json:",omitempty"`
			Zero  time.Time  `json:",omitzero"`
			After Timeout
		}](),
		reflect.TypeFor[struct {
			P1 **int
			P2 ***Inner
			P3 *[]*string
			P4 *map[string]*bool
			P5 *struct{ X, Y int }
			P6 []struct{ Z []struct{ W *Color } }
		}](),
		reflect.TypeFor[struct {
			Ignored chan int `json:"-"`
			Spaced  int      `json:"a b/c~d"`
			Dotted  int      `json:"$ref.x"`
			Quoted  int      `json:"naïve-name"`
			Upper   int      `json:"UPPER,case:ignore"`
			private func()
		}](),
	}
}

// Particular returns struct types with fields that accept only values in a particular syntax, which
// a schema cannot describe.
func Particular() []reflect.Type {
	return []reflect.Type{
		reflect.TypeFor[struct {
			Addr netip.Addr
			Maps map[netip.Addr]netip.Prefix
			Big  *big.Int
			Rat  big.Rat
			Raw  json.RawMessage
		}](),
	}
}

// Refused returns struct types that package gotype refuses, because not all of their values can be
// encoded as JSON and decoded again. The key in the map is a part of the error text that is expected
// for the type.
func Refused() map[string]reflect.Type {
	type loop *loop
	return map[string]reflect.Type{
		"chan":           reflect.TypeFor[struct{ C chan int }](),
		"func":           reflect.TypeFor[struct{ F []func() }](),
		"complex128":     reflect.TypeFor[struct{ N map[string]complex128 }](),
		"keys of a map":  reflect.TypeFor[struct{ M map[bool]int }](),
		"with methods":   reflect.TypeFor[struct{ E error }](),
		"only to itself": reflect.TypeFor[struct{ L loop }](),
		"string": reflect.TypeFor[struct {
			B bool `json:",string"`
		}](),
		"format": reflect.TypeFor[struct {
			T time.Time `json:",format:unix"`
		}](),
		"no exported fields": reflect.TypeFor[struct{ X struct{ private int } }](),
		"unexported struct":  reflect.TypeFor[struct{ *hidden }](),
	}
}

type hidden struct{ A int }
