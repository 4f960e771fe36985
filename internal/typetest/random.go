package typetest

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// leaves are the types from which the types of the fields of random structs are built.
var leaves = []reflect.Type{
	reflect.TypeFor[bool](), reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[int16](), reflect.TypeFor[int32](), reflect.TypeFor[int64](),
	reflect.TypeFor[uint](), reflect.TypeFor[uint8](), reflect.TypeFor[uint16](), reflect.TypeFor[uint32](), reflect.TypeFor[uint64](),
	reflect.TypeFor[float32](), reflect.TypeFor[float64](), reflect.TypeFor[string](), reflect.TypeFor[[]byte](), reflect.TypeFor[[4]byte](),
	reflect.TypeFor[time.Time](), reflect.TypeFor[time.Duration](), reflect.TypeFor[any](), reflect.TypeFor[Color](), reflect.TypeFor[Size](),
	reflect.TypeFor[Level](), reflect.TypeFor[Name](), reflect.TypeFor[ID](), reflect.TypeFor[Blob](), reflect.TypeFor[Colors](), reflect.TypeFor[Timeout](),
	reflect.TypeFor[Base](), reflect.TypeFor[Inner](), reflect.TypeFor[Größe](), reflect.TypeFor[Page[Color]](), reflect.TypeFor[Pair[Base, *Level]](),
	reflect.TypeFor[Tree](), reflect.TypeFor[Names](), reflect.TypeFor[Row](), reflect.TypeFor[Link](), reflect.TypeFor[Node](), reflect.TypeFor[Ring](), reflect.TypeFor[Fixed](),
	reflect.TypeFor[Word](), reflect.TypeFor[Loud](), reflect.TypeFor[Raw](), reflect.TypeFor[jsontext.Value](),
}

var odd = []reflect.Type{
	reflect.TypeFor[chan int](), reflect.TypeFor[func()](), reflect.TypeFor[complex64](), reflect.TypeFor[map[bool]int](), reflect.TypeFor[error](),
}

var keys = []reflect.Type{
	reflect.TypeFor[string](), reflect.TypeFor[Name](), reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[uint16](), reflect.TypeFor[uint64](),
	reflect.TypeFor[Word](), reflect.TypeFor[Color](), reflect.TypeFor[Level](), reflect.TypeFor[float64](), reflect.TypeFor[time.Duration](), reflect.TypeFor[time.Time](),
}

var embeddable = []reflect.Type{
	reflect.TypeFor[Base](), reflect.TypeFor[*Base](), reflect.TypeFor[Audit](), reflect.TypeFor[*Audit](), reflect.TypeFor[Inner](), reflect.TypeFor[*Inner](),
}

// Random returns a random struct type. A few of these types cannot be encoded as JSON.
func Random(r *rand.Rand) reflect.Type { return maker{r, leaves, keys, true}.structOf(3) }

// RandomMessage returns a random struct type. Most of these types can also be encoded as Protocol
// Buffers.
func RandomMessage(r *rand.Rand) reflect.Type {
	plain := slices.DeleteFunc(slices.Clone(leaves), func(t reflect.Type) bool {
		switch t {
		case reflect.TypeFor[[4]byte](), reflect.TypeFor[any](), reflect.TypeFor[ID](), reflect.TypeFor[Tree](), reflect.TypeFor[Names](),
			reflect.TypeFor[Row](), reflect.TypeFor[Link](), reflect.TypeFor[Fixed](), reflect.TypeFor[Raw](), reflect.TypeFor[jsontext.Value]():
			return true
		}
		return false
	})
	return maker{r, plain, keys[:9], false}.structOf(3)
}

// maker creates random types from leaves and keys: in any combination if arbitrary is true, and
// otherwise mostly in the combinations that a Protocol Buffers message permits.
type maker struct {
	r         *rand.Rand
	leaves    []reflect.Type
	keys      []reflect.Type
	arbitrary bool
}

func (m maker) structOf(depth int) reflect.Type {
	r := m.r
	var fields []reflect.StructField
	used := make(map[string]bool)
	for range r.IntN(6) {
		f := reflect.StructField{Name: string(rune('A'+r.IntN(12))) + strings.Repeat("x", r.IntN(2)), Type: m.typeOf(depth, true)}
		if r.IntN(6) == 0 {
			t := embeddable[r.IntN(len(embeddable))]
			name := t.Name()
			if t.Kind() == reflect.Pointer {
				name = t.Elem().Name()
			}
			f = reflect.StructField{Name: name, Type: t, Anonymous: true}
		}
		if used[f.Name] {
			continue
		}
		used[f.Name] = true
		f.Tag = randomTag(r, f)
		fields = append(fields, f)
	}
	return reflect.StructOf(fields)
}

func randomTag(r *rand.Rand, f reflect.StructField) reflect.StructTag {
	if r.IntN(3) == 0 {
		return ""
	}
	names := []string{"", "", "id", "note", "a", "x-" + f.Name, "Ü" + f.Name, "1" + f.Name, "a b", strings.ToLower(f.Name)}
	tag := names[r.IntN(len(names))]
	for _, option := range []string{"omitempty", "omitzero", "string", "embed", "case:ignore"} {
		odds := 8
		switch f.Type.Kind() {
		case reflect.Struct, reflect.Map:
			odds = 6
		case reflect.Int64, reflect.Uint8:
			odds = 4
		default:
		}
		if option == "string" && f.Type.Kind() > reflect.Float64 || option == "embed" && f.Type.Kind() != reflect.Struct && f.Type.Kind() != reflect.Map {
			odds = 200 // mostly refused
		}
		if r.IntN(odds) == 0 {
			tag = strings.Join([]string{tag, option}, ",")
		}
	}
	return reflect.StructTag(fmt.Sprintf("json:%q", tag))
}

func (m maker) typeOf(depth int, nest bool) reflect.Type {
	r := m.r
	if r.IntN(300) == 0 {
		return odd[r.IntN(len(odd))]
	}
	leaf := m.leaves[r.IntN(len(m.leaves))]
	if depth == 0 || !nest {
		return leaf
	}
	nest = m.arbitrary // lists of lists and the like have no place in Protocol Buffers
	switch r.IntN(12) {
	case 0, 1:
		return reflect.PointerTo(m.typeOf(depth-1, nest))
	case 2, 3:
		return reflect.SliceOf(m.typeOf(depth-1, nest))
	case 4:
		if m.arbitrary {
			return reflect.ArrayOf(r.IntN(3), m.typeOf(depth-1, nest))
		}
		return reflect.SliceOf(m.structOf(depth - 1))
	case 5:
		return reflect.MapOf(m.keys[r.IntN(len(m.keys))], m.typeOf(depth-1, nest))
	case 6:
		return m.structOf(depth - 1)
	default:
		return leaf
	}
}

// Fill sets v, which must be settable, to a random value that can be encoded. Pointers, slices and
// maps that are nested more than depth levels deep stay nil, which ends recursive values.
func Fill(r *rand.Rand, v reflect.Value, depth int) {
	if fillKnown(r, v) {
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(r.Uint64()) >> (64 - v.Type().Bits()) >> r.IntN(v.Type().Bits()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(r.Uint64() >> (64 - v.Type().Bits()) >> r.IntN(v.Type().Bits()))
	case reflect.Float32, reflect.Float64:
		v.SetFloat([]float64{0, 1, -2.5, r.NormFloat64(), 3e38, -1e-30}[r.IntN(6)])
	case reflect.String:
		v.SetString(text(r))
	case reflect.Pointer:
		if depth > 0 && r.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			Fill(r, v.Elem(), depth-1)
		}
	case reflect.Slice:
		if depth > 0 && r.IntN(4) > 0 {
			v.Set(reflect.MakeSlice(v.Type(), r.IntN(3), 3))
			fillEach(r, v, depth-1)
		}
	case reflect.Array:
		fillEach(r, v, depth-1)
	case reflect.Map:
		fillMap(r, v, depth-1)
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			switch tag := f.Tag.Get("json"); {
			case !f.IsExported() || tag == "-":
			case strings.Contains(tag, ",embed") && f.Type.Kind() == reflect.Map: // no names of fields
				v.Field(i).Set(reflect.MakeMap(f.Type))
				v.Field(i).SetMapIndex(reflect.ValueOf("other").Convert(f.Type.Key()), reflect.Zero(f.Type.Elem()))
			default:
				Fill(r, v.Field(i), depth-1)
			}
		}
	case reflect.Interface:
		if v.NumMethod() == 0 && r.IntN(2) == 0 {
			v.Set(reflect.ValueOf([]any{map[string]any{"k": text(r)}, "s", 1.5, true, nil}[r.IntN(4)]))
		}
	default:
	}
}

// fillKnown sets v to a random valid value if the type of v does not accept every value of its
// kind. It reports whether it has set v.
func fillKnown(r *rand.Rand, v reflect.Value) bool {
	switch p := v.Addr().Interface().(type) {
	case *time.Time:
		*p = time.Unix(r.Int64N(1<<32), r.Int64N(1e9)).UTC()
	case *time.Duration:
		*p = time.Duration(r.Uint64())
		if *p < -math.MaxInt64/2 { // the least of all has no place in Protocol Buffers
			*p = 0
		}
	case *Word:
		p.text = text(r)
	case *Raw:
		p.value = text(r)
	case *jsontext.Value:
		*p = jsontext.Value(`{"other":[1]}`)
	case *json.RawMessage:
		*p = json.RawMessage(`[1]`)
	case *Color:
		*p = []Color{0, 1, 7}[r.IntN(3)]
	case *Size:
		*p = []Size{0, -1, 1 << 20}[r.IntN(3)]
	default:
		return false
	}
	return true
}

func fillEach(r *rand.Rand, v reflect.Value, depth int) {
	for i := range v.Len() {
		Fill(r, v.Index(i), depth)
	}
}

func fillMap(r *rand.Rand, v reflect.Value, depth int) {
	if depth < 0 || r.IntN(4) == 0 {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for range r.IntN(3) {
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		Fill(r, key, 1)
		Fill(r, value, depth)
		v.SetMapIndex(key, value)
	}
}

func text(r *rand.Rand) string {
	return []string{"", "a", "é", "\u2028\"\\", "0", "1.5s", "null", strings.Repeat("long ", 40)}[r.IntN(8)]
}
