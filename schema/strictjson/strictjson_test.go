package strictjson_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/strictjson"
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

func TestAnswersMayHaveMore(t *testing.T) {
	t.Parallel()
	var o order
	if err := strictjson.DecodeAnswer([]byte(`{"name":"a","new":true}`), &o); err != nil || o.Name != "a" {
		t.Errorf("%+v, %v", o, err)
	}
	if err := strictjson.DecodeAnswer([]byte(`{"name":`), &o); err == nil {
		t.Error("half an answer was taken")
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
