package strictjson_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/strictjson"
)

type stock struct {
	Left int           `json:"left"`
	Wait time.Duration `json:"wait"`
	Tags []string      `json:"tags"`
}

func (stock) DetailName() string { return "shop.v1.Stock" }

type empty struct{}

func (*empty) DetailName() string { return "shop.v1.Empty" }

// unusual has a name of its own for each case.
type unusual struct {
	Type string `json:"@type"`
	name string
	fail bool
}

func (u *unusual) DetailName() string { return u.name }

func (u *unusual) MarshalJSON() ([]byte, error) {
	if u.fail {
		panic("in a method of the detail")
	}
	return []byte(`"text"`), nil
}

type doubled struct {
	Type string `json:"@type"`
}

func (doubled) DetailName() string { return "shop.v1.Doubled" }

func TestDetailsAreReturned(t *testing.T) {
	t.Parallel()
	want := stock{Left: 3, Wait: 1500 * time.Millisecond, Tags: []string{"a\"\u2028"}}
	encoded := &chassi.EncodedDetail{Name: "shop.v1.Other", Protobuf: []byte{8, 1}}
	text := strictjson.Details([]chassi.Detail{want, &want, new(empty), encoded, &chassi.EncodedDetail{Name: "shop.v1.Stock", JSON: []byte(` {"left":4} `[1:])}})
	if !strings.HasPrefix(string(text), `[{"@type":"type.googleapis.com/shop.v1.Stock","left":3,"wait":"1.5s","tags":["a\"`) ||
		!strings.Contains(string(text), `},{"@type":"type.googleapis.com/shop.v1.Empty"},{"@type":"type.googleapis.com/shop.v1.Other","@value":"CAE="},{"@type":"type.googleapis.com/shop.v1.Stock","left":4}]`) {
		t.Errorf("written as %s", text)
	}
	details := strictjson.ParseDetails(text)
	if len(details) != 5 {
		t.Fatalf("%d came back of %s", len(details), text)
	}
	for i, d := range details[:2] {
		got, ok := chassi.DetailOf[stock](chassi.NewError(chassi.Aborted, "a", "b").WithDetails(d))
		if !ok || got.Left != want.Left || got.Wait != want.Wait || fmt.Sprint(got.Tags) != fmt.Sprint(want.Tags) {
			t.Errorf("%d came back as %+v, %v", i, got, ok)
		}
	}
	other, ok := details[3].(*chassi.EncodedDetail)
	if !ok || other.Name != encoded.Name || !bytes.Equal(other.Protobuf, encoded.Protobuf) || other.JSON != nil {
		t.Errorf("an encoded message came back as %+v", details[3])
	}
}

// An error reaches its caller whatever its details are like.
func TestDetailsThatCannotBeSentAreLeftOut(t *testing.T) {
	t.Parallel()
	var typedNil *stock
	for name, d := range map[string]chassi.Detail{
		"nil":                nil,
		"nil pointer":        typedNil,
		"no name":            &unusual{},
		"name with a quote":  &unusual{name: `a"b`},
		"name of a URL":      &unusual{name: "type.googleapis.com/a.B"},
		"empty word":         &unusual{name: "a..B"},
		"control character":  &chassi.EncodedDetail{Name: "a.B\x11", JSON: []byte(`{}`)},
		"too long":           &unusual{name: strings.Repeat("a", 300)},
		"panics":             &unusual{name: "a.B", fail: true},
		"no object":          &unusual{name: "a.B"},
		"member @type":       doubled{},
		"text not UTF-8":     stock{Tags: []string{"\xff"}},
		"too large":          stock{Tags: []string{strings.Repeat("x", 20<<10)}},
		"JSON array":         &chassi.EncodedDetail{Name: "a.B", JSON: []byte(`[]`)},
		"JSON broken":        &chassi.EncodedDetail{Name: "a.B", JSON: []byte(`{"a":`)},
		"JSON and more":      &chassi.EncodedDetail{Name: "a.B", JSON: []byte(`{},{}`)},
		"JSON empty":         &chassi.EncodedDetail{Name: "a.B", JSON: []byte{}},
		"JSON with a member": &chassi.EncodedDetail{Name: "a.B", JSON: []byte(`{"@type":"c.D"}`)},
	} {
		text := strictjson.Details([]chassi.Detail{d, stock{Left: 1}})
		if want := `[{"@type":"type.googleapis.com/shop.v1.Stock","left":1,"wait":"0s","tags":[]}]`; string(text) != want {
			t.Errorf("%s: %s", name, text)
		}
	}
	many := make([]chassi.Detail, 1000)
	for i := range many {
		many[i] = stock{Left: i}
	}
	if n := len(strictjson.ParseDetails(strictjson.Details(many))); n != 16 {
		t.Errorf("%d details were sent", n)
	}
	if strictjson.Details(nil) != nil {
		t.Error("no details are written as something")
	}
}

// What another process sends is not trusted.
func TestDetailsThatAreMalformedAreLeftOut(t *testing.T) {
	t.Parallel()
	const good = `{"@type":"x/shop.v1.Stock","left":1}`
	for _, text := range []string{
		`null`, `7`, `{}`, `{"@type":7}`, `{"@type":""}`, `{"@type":"a b"}`, `{"@type":"a.B","@value":"*"}`, `{"@type":"a.B","@type":"a.C"}`,
		`{"@type":"a.B","x":1,"x":2}`, `[]`, `{"@type":"` + strings.Repeat("a", 300) + `"}`,
	} {
		details := strictjson.ParseDetails([]byte("[" + text + "," + good + "]"))
		if len(details) != 1 || details[0].DetailName() != "shop.v1.Stock" {
			t.Errorf("%s: %d details", text, len(details))
		}
	}
	for _, text := range []string{``, `null`, `{}`, `[`, good, `"` + good + `"`, "[" + strings.Repeat(good+",", 3000) + good + "]"} {
		if details := strictjson.ParseDetails([]byte(text)); len(details) != 0 {
			t.Errorf("%.20s: %d details", text, len(details))
		}
	}
	if n := len(strictjson.ParseDetails([]byte("[" + strings.Repeat(good+",", 99) + good + "]"))); n != 16 {
		t.Errorf("%d details were read", n)
	}
	wrong := strictjson.ParseDetails([]byte(`[{"@type":"shop.v1.Stock","left":"three"},{"@type":"shop.v1.Stock","left":3,"new":true}]`))
	if got, ok := chassi.DetailOf[stock](chassi.NewError(chassi.Aborted, "a", "b").WithDetails(wrong...)); !ok || got.Left != 3 {
		t.Errorf("behind a malformed detail: %+v, %v", got, ok)
	}
}

// Whatever arrives, nothing panics, and what was understood once is written and
// understood again.
func FuzzParseDetails(f *testing.F) {
	for _, seed := range []string{
		`[{"@type":"type.googleapis.com/shop.v1.Stock","left":3,"wait":"1.5s"}]`, `[{"@type":"a.B","@value":"CAE="}]`, `[{"@type":"a.B"},{}]`, `[[`, `null`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		details := strictjson.ParseDetails(data)
		if len(details) > 16 {
			t.Fatalf("%d details", len(details))
		}
		_, _ = chassi.DetailOf[stock](chassi.NewError(chassi.Aborted, "a", "b").WithDetails(details...))
		again := strictjson.ParseDetails(strictjson.Details(details))
		if len(again) > len(details) || len(data) < 1000 && len(again) != len(details) {
			t.Fatalf("%d details became %d", len(details), len(again))
		}
	})
}

// Other errors have no details, nil ones included.
func TestDetailOfNeedsADetail(t *testing.T) {
	t.Parallel()
	for _, err := range []error{nil, errors.New("other"), chassi.NewError(chassi.Aborted, "a", "b"), (*chassi.Error)(nil)} {
		if d, ok := chassi.DetailOf[stock](err); ok {
			t.Errorf("%v has %+v", err, d)
		}
	}
}
