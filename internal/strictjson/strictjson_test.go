package strictjson_test

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/strictjson"
)

type order struct {
	Name  string `json:"name"`
	Items []struct {
		ID int `json:"id"`
	} `json:"items"`
	Inner *order `json:"inner"`
}

func TestDecodeNamesTheField(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"name":1}`:                       "name cannot be a JSON number",
		`{"items":[{"id":1},{"id":"x"}]}`:  "items[1].id cannot be a JSON string",
		`{"Name":"a"}`:                     "Name is not a known member",
		`{"name":"a","name":"b"}`:          "name is given twice",
		`{"name":"a"} {}`:                  " is not valid JSON",
		"{\"name\":\"\xff\"}":              " is not valid JSON",
		`[]`:                               " the body must be a JSON object",
		``:                                 " the body is empty",
		`{"inner":{"inner":{"inner":{}}}}`: " nests deeper than 3 levels",
	} {
		e := chassi.ErrorOf(strictjson.Decode([]byte(body), new(order), 3))
		if e == nil || e.Reason != "malformed_request" || len(e.Violations) != 1 || !strings.Contains(e.Violations[0].Field+" "+e.Violations[0].Message, want) {
			t.Errorf("%s: %+v, want %q", body, e, want)
		}
	}
}

func TestResponsesMayHaveMore(t *testing.T) {
	t.Parallel()
	var o order
	if err := strictjson.DecodeResponse([]byte(`{"name":"a","new":true}`), &o); err != nil || o.Name != "a" {
		t.Errorf("%+v, %v", o, err)
	}
	if err := strictjson.DecodeResponse([]byte(`{"name":`), &o); err == nil {
		t.Error("half a response was taken")
	}
}

// What is read is written the same, and nothing is read twice differently.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{"name":"a","items":[{"id":1}]}`, `{"inner":{"name":"é"}}`, `{`, `{"name":"\ud800"}`, "[[[["} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second order
		err := strictjson.Decode(data, &first, 8)
		if err != nil {
			if e := chassi.ErrorOf(err); e.Code != chassi.InvalidArgument {
				t.Errorf("%v", err)
			}
			return
		}
		var written []byte
		if err := strictjson.Append(&written, &first); err != nil {
			t.Fatal(err)
		}
		if err := strictjson.Decode(written, &second, 8); err != nil {
			t.Errorf("%s was read, its own %s not: %v", data, written, err)
		}
	})
}

// Durations are seconds, and read back as what they were.
func TestDurations(t *testing.T) {
	t.Parallel()
	type message struct {
		D    time.Duration    `json:"d"`
		List []*time.Duration `json:"list"`
	}
	for d, want := range map[time.Duration]string{0: "0s", time.Minute: "60s", 1500 * time.Millisecond: "1.5s", -time.Nanosecond: "-0.000000001s", math.MinInt64: "-9223372036.854775808s"} {
		var b []byte
		if err := strictjson.Append(&b, &message{D: d, List: []*time.Duration{&d}}); err != nil || string(b) != `{"d":"`+want+`","list":["`+want+`"]}` {
			t.Errorf("%v: %s, %v", d, b, err)
		}
		var back message
		if err := strictjson.Decode(b, &back, 8); err != nil || back.D != d {
			t.Errorf("%s: %v, %v", b, back, err)
		}
	}
	for _, bad := range []string{`{"d":1}`, `{"d":"soon"}`, `{"d":null}`} {
		if e := chassi.ErrorOf(strictjson.Decode([]byte(bad), new(message), 8)); e == nil || e.Violations[0].Field != "d" || strings.Contains(e.Violations[0].Message, "soon") {
			t.Errorf("%s: %+v", bad, e)
		}
	}
}

// shade is written as a text.
type shade struct{ name string }

func (s shade) MarshalText() ([]byte, error) { return []byte(s.name), nil }

func (s *shade) UnmarshalText(text []byte) error {
	if s.name = string(text); s.name != "light" && s.name != "dark" {
		return fmt.Errorf("shade %q is neither\nlight nor dark", text)
	}
	return nil
}

type kinds struct {
	At     time.Time         `json:"at"`
	Took   time.Duration     `json:"took"`
	Shade  shade             `json:"shade"`
	Shades map[string]*shade `json:"shades"`
	Small  int8              `json:"small"`
	Large  uint64            `json:"large"`
	Raw    []byte            `json:"raw"`
	Factor float32           `json:"factor"`
	Text   string            `json:"text"`
	List   []string          `json:"list"`
	Lists  [][]*int          `json:"lists"`
	Inner  *kinds            `json:"inner"`
	Inners map[string]kinds  `json:"inners"`
	Any    any               `json:"any"`
	Array  [1]bool           `json:"array"`
}

// What is wrong with a value is said in terms of what would be right.
func TestDecodeErrorsNameTheProblem(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"at":"yesterday"}`:                        "at must be a time such as 2006-01-02T15:04:05Z",
		`{"took":"soon"}`:                           "took must be a duration such as 1.5s, within 292 years",
		`{"took":5}`:                                "took must be a duration such as 1.5s, within 292 years",
		`{"shade":"canary"}`:                        `shade shade "…" is neither light nor dark`,
		`{"shades":{"a.b":"canary \u00e9"}}`:        `shades["a.b"] shade "…" is neither light nor dark`,
		`{"shade":7}`:                               "shade cannot be a JSON number",
		`{"small":128}`:                             "small must be a whole number from -128 to 127",
		`{"small":1.5}`:                             "small must be a whole number from -128 to 127",
		`{"large":-1}`:                              "large must be a whole number from 0 to 18446744073709551615",
		`{"raw":"*"}`:                               "raw must be base64",
		`{"factor":1e300}`:                          "factor is a number out of range",
		`{"text":null}`:                             "text must not be null",
		"{\"text\" : \n\t null}":                    "text must not be null",
		`{"list":["a",null]}`:                       "list[1] must not be null",
		`{"inner":{"inners":{"k":{"small":null}}}}`: `inner.inners["k"].small must not be null`,
		`{"inners":{"k":null}}`:                     `inners["k"] must not be null`,
		`{"shade":null}`:                            "shade must not be null",
		`{"at":null}`:                               "at must not be null",
		`{"array":[null]}`:                          "array[0] must not be null",
		`{"array":null}`:                            "array must not be null",
		`{"list":null,"lists":[null,[null]],"inner":null,"any":null}`:                             "",
		`{"shades":{"a":null},"raw":null,"any":{"x":[null]},"text":"null","inner":{"list":null}}`: "",
		`{"inners":{"1":{"list":[1]}}}`:                                                           `inners["1"].list[0] cannot be a JSON number`,
	} {
		err := strictjson.Decode([]byte(body), new(kinds), 16)
		got := ""
		if err != nil {
			v := chassi.ErrorOf(err).Violations[0]
			got = v.Field + " " + v.Message
		}
		if got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
	err := strictjson.Decode([]byte(`{"inners":{"`+strings.Repeat("k", 1000)+`":7}}`), new(kinds), 16)
	if v := chassi.ErrorOf(err).Violations[0]; len(v.Field) > 110 {
		t.Errorf("%d bytes of a name are quoted", len(v.Field))
	}
}

// refusing has a method that fails, or panics.
type refusing struct {
	err    error
	panics bool
}

// MarshalJSON implements [json.Marshaler].
func (r refusing) MarshalJSON() ([]byte, error) {
	if r.panics {
		panic("in a method of the message")
	}
	return []byte(`{"ok":true}`), r.err
}

// The encoding of a message, or its error, does not depend on the messages before it.
func TestMessagesAreIndependent(t *testing.T) {
	t.Parallel()
	type message struct {
		Name  string   `json:"name"`
		Inner refusing `json:"inner"`
	}
	errBad := errors.New("bad")
	large := strings.Repeat("x", 1<<20)
	for _, c := range []struct {
		message    any
		want, fail string
	}{
		{message{Name: "a"}, `{"name":"a","inner":{"ok":true}}`, ""},
		{refusing{err: errBad}, "", "marshal from Go strictjson_test.refusing: bad"},
		{message{Inner: refusing{err: errBad}}, "", `marshal from Go strictjson_test.refusing within "/inner": bad`},
		{message{Name: "\xff"}, "", `jsontext: invalid UTF-8 within "/name" after offset 8`},
		{message{Name: large}, `{"name":"` + large + `","inner":{"ok":true}}`, ""},
		{&message{Inner: refusing{panics: true}}, "", "panic: in a method of the message"},
	} {
		for _, before := range []string{"", "some", large, strings.Repeat("x", 50<<10)} {
			out := []byte("before ")
			if err := strictjson.Append(&out, message{Name: before}); err != nil {
				t.Fatal(err)
			}
			if want := `before {"name":"` + before + `","inner":{"ok":true}}`; string(out) != want {
				t.Fatalf("%.100s, want %.100s", out, want)
			}
			out = out[:0]
			err := appendRecovered(&out, c.message)
			if got := fmt.Sprint(err); string(out) != c.want || (c.fail != "") != (err != nil) || !strings.HasSuffix(got, cmp.Or(c.fail, got)) {
				t.Errorf("%.100s, %v, want %.100s %s", out, err, c.want, c.fail)
			}
		}
	}
}

func appendRecovered(out *[]byte, message any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return strictjson.Append(out, message)
}
