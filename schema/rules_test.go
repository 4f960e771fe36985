package schema_test

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/strictjson"
	"github.com/chassi-go/chassi/schema"
	"github.com/chassi-go/chassi/validation"
)

type part struct {
	Zip  string `json:"zip" validate:"required,len=2"`
	Note string `json:"note" validate:"max=3"`
}

type loose struct {
	Note string `json:"note" validate:"max=3"`
}

// ruled has a rule for each kind and each keyword. Every field is checked with every
// candidate value of the JSON kind that it is.
type ruledRequest struct {
	I1  int      `json:"i1" validate:"min=1,max=3"`
	I2  int8     `json:"i2" validate:"gt=-2,lt=2"`
	I3  int64    `json:"i3" validate:"omitempty,min=2"`
	I4  *int     `json:"i4" validate:"omitempty,min=2"`
	I5  *int     `json:"i5" validate:"min=2"`
	I6  int      `json:"i6" validate:"oneof=1 2"`
	I7  int      `json:"i7" validate:"omitempty,oneof=1 2"`
	I8  *int     `json:"i8" validate:"omitempty,oneof=1 2"`
	I9  int      `json:"i9" validate:"required"`
	I10 *int     `json:"i10" validate:"required"`
	I11 int      `json:"i11" validate:"eq=2"`
	I12 int      `json:"i12" validate:"ne=2"`
	I13 int      `json:"i13" validate:"noneof=1 2"`
	I14 int      `json:"i14" validate:"required,max=2"`
	I15 int      `json:"i15"`
	I16 *int     `json:"i16"`
	I17 int      `json:"i17" validate:"eq=1|min=3"`
	I18 int      `json:"i18" validate:"oneof=1 2,ne=2"`
	I19 int      `json:"i19" validate:"min=1,gte=2"`
	I20 *int     `json:"i20" validate:"omitempty,eq=2"`
	I21 *int     `json:"i21" validate:"omitempty,eq=1|min=3"`
	I22 *int     `json:"i22" validate:"omitempty,ne=1,ne=2"`
	I23 *int     `json:"i23" validate:"omitempty,ne=2"`
	U1  uint8    `json:"u1" validate:"min=2"`
	U2  uint     `json:"u2" validate:"omitempty,gte=2"`
	F1  float64  `json:"f1" validate:"gt=1.5,lte=3"`
	F2  float64  `json:"f2" validate:"required"`
	F3  *float64 `json:"f3" validate:"omitempty,lt=1.5"`
	B1  bool     `json:"b1" validate:"required"`
	B2  bool     `json:"b2" validate:"eq=false"`
	B3  *bool    `json:"b3" validate:"required"`
	S1  string   `json:"s1" validate:"required"`
	S2  string   `json:"s2" validate:"min=2,max=3"`
	S3  string   `json:"s3" validate:"omitempty,min=2"`
	S4  *string  `json:"s4" validate:"omitempty,min=2"`
	S5  *string  `json:"s5" validate:"required"`
	S6  string   `json:"s6" validate:"oneof=a ab 'a b'"`
	S7  string   `json:"s7" validate:"omitempty,oneof=a ab"`
	S8  string   `json:"s8" validate:"required,alphanum,max=2"`
	S9  string   `json:"s9" validate:"alphaunicode"`
	S10 string   `json:"s10" validate:"omitempty,uuid"`
	S11 string   `json:"s11" validate:"startswith=a,endswith=b"`
	S12 string   `json:"s12" validate:"contains=."`
	S13 string   `json:"s13" validate:"eq=ab|number"`
	S14 string   `json:"s14" validate:"ne=ab"`
	S15 string   `json:"s15" validate:"printascii"`
	S16 string   `json:"s16" validate:"required,ascii"`
	S17 *string  `json:"s17" validate:"min=0"`
	S18 string   `json:"s18"`
	S19 string   `json:"s19" validate:"omitempty,oneof=a ab,min=2"`
	S20 string   `json:"s20" validate:"alpha,hexadecimal"`
	L1  []int    `json:"l1" validate:"min=1,max=2"`
	L2  []int    `json:"l2" validate:"required,dive,min=2"`
	L3  []int    `json:"l3" validate:"omitempty,min=2,unique"`
	L4  []int    `json:"l4" validate:"dive,required"`
	L5  []*int   `json:"l5" validate:"dive,required"`
	L6  []*int   `json:"l6" validate:"dive,omitempty,min=2"`
	L7  []int    `json:"l7"`
	L8  *[]int   `json:"l8" validate:"required,dive,max=2"`
	L9  [2]int   `json:"l9" validate:"dive,max=2"`
	N1  [][]int  `json:"n1" validate:"max=2,dive,min=1,dive,min=2"`
	N2  [][]int  `json:"n2"`

	M1 map[string]int   `json:"m1" validate:"max=1,dive,keys,min=2,endkeys,min=2"`
	M2 map[string]int   `json:"m2" validate:"required"`
	M3 map[string][]int `json:"m3" validate:"dive,required"`
	M4 map[string]int   `json:"m4" validate:"omitempty,len=2"`

	P1 part             `json:"p1"`
	P2 *part            `json:"p2"`
	P3 *part            `json:"p3" validate:"required"`
	P4 loose            `json:"p4"`
	P5 []part           `json:"p5"`
	P6 []*part          `json:"p6" validate:"required"`
	P7 map[string]*part `json:"p7" validate:"dive,required"`

	E1 string        `json:"e1" validate:"email"`
	E2 string        `json:"e2" validate:"omitempty,url"`
	E3 string        `json:"e3" validate:"ip"`
	E4 string        `json:"e4" validate:"excludes=b"`
	E5 time.Duration `json:"e5" validate:"omitempty,min=1s"`
	E6 []byte        `json:"e6" validate:"min=2"`
	E7 string        `json:"e7" validate:"omitempty,eqfield=S1"`
}

// partial are the fields with a rule that no keyword says: the schema takes more than the
// server, and says why in words.
var partial = map[string]string{
	"e1": "It must be an e-mail address.", "e2": "It must be a URL.", "e3": "It must be an IP address.", "e4": "It must not contain b.",
	"e5": "It must be at least 1s.", "e6": "It must have at least 2 bytes.", "e7": "It must equal s1.",
}

var candidates = map[string][]string{
	"i": {"-3", "-2", "-1", "0", "1", "2", "3", "4"},
	"u": {"0", "1", "2", "3"},
	"f": {"-1.5", "0", "0.0", "1.5", "1.6", "3", "3.1"},
	"b": {"true", "false"},
	"s": {`""`, `"a"`, `"ab"`, `"abc"`, `"abcd"`, `"a b"`, `"aé"`, `"łž"`, `"12"`, `"a.b"`, `"a\u0000b"`, `"123e4567-e89b-12d3-a456-426614174000"`, `"ab\n"`, `"\ud83d\ude00b"`},
	"l": {`[]`, `[0]`, `[1]`, `[2]`, `[2,2]`, `[2,3]`, `[0,0]`, `[2,3,4]`, `[null]`, `[2,null]`},
	"n": {`[]`, `[[]]`, `[[1]]`, `[[2]]`, `[[2],[3]]`, `[[2],[3],[4]]`, `[null]`},
	"m": {`{}`, `{"a":1}`, `{"ab":2}`, `{"ab":1}`, `{"ab":2,"ac":2}`, `{"a":null}`, `{"a":[]}`, `{"a":[1]}`},
	"p": {
		`{}`, `{"zip":"ab"}`, `{"zip":""}`, `{"zip":"ab","note":"abcd"}`, `{"note":"a"}`, `{"zip":null}`, `[]`, `[{}]`, `[{"zip":"ab"}]`, `[null]`, `{"a":{"zip":"ab"}}`, `{"a":{}}`, `{"a":null}`,
	},
	"e": {`""`, `"ada@example.org"`, `"http://a.b"`, `"::1"`, `"b"`, `"1s"`, `"0s"`, `"YWI="`, `"YQ=="`},
}

// The document and the server agree on every value, in both directions.
func TestSchemaMatchesServer(t *testing.T) {
	t.Parallel()
	compiled, document := compileRequest[ruledRequest](t)
	checker, err := validation.New(reflect.TypeFor[ruledRequest](), validation.Parameters)
	if err != nil {
		t.Fatal(err)
	}
	serverTakes := func(body []byte) bool {
		var r ruledRequest
		return strictjson.Decode(body, &r, 64) == nil && checker.Check(&r) == nil
	}
	good := goodValues(t, compiled, serverTakes)
	for name := range jsonNames(reflect.TypeFor[ruledRequest]()) {
		kind := name[:1]
		taken := 0
		for _, value := range append(candidates[kind], "null", "", `{"other":1}`, "true", `"text"`, "7") {
			body := bodyWith(good, name, value)
			schemaErr := compiled.Validate(readJSON(t, body))
			server, documented := serverTakes(body), schemaErr == nil
			if server {
				taken++
			}
			if server != documented && (server || partial[name] == "") {
				t.Errorf("%s %s: the server takes it: %v, the schema: %v (%v)", name, value, server, documented, schemaErr)
			}
		}
		if taken == 0 {
			t.Errorf("%s: no value is taken", name)
		}
	}
	for name, note := range partial {
		if !strings.Contains(document, note) {
			t.Errorf("%s: the document does not say %q", name, note)
		}
	}
}

// goodValues finds a value for each field that schema and server take.
func goodValues(t *testing.T, compiled *jsonschema.Schema, server func([]byte) bool) map[string]string {
	t.Helper()
	good := make(map[string]string)
	failing := func(body []byte) map[string]bool {
		names := make(map[string]bool)
		var r ruledRequest
		checker, err := validation.New(reflect.TypeFor[ruledRequest](), validation.Parameters)
		if err != nil {
			t.Fatal(err)
		}
		if err := strictjson.Decode(body, &r, 64); err != nil {
			names[strings.FieldsFunc(chassi.ErrorOf(err).Violations[0].Field, func(r rune) bool { return r == '.' || r == '[' })[0]] = true
		} else if err := checker.Check(&r); err != nil {
			for _, v := range chassi.ErrorOf(err).Violations {
				if v.Field != "" {
					names[strings.FieldsFunc(v.Field, func(r rune) bool { return r == '.' || r == '[' })[0]] = true
				}
			}
		}
		return names
	}
	next := make(map[string]int)
	for range 1000 {
		bad := failing(bodyWith(good, "", ""))
		if len(bad) == 0 {
			break
		}
		for name := range bad {
			list := candidates[name[:1]]
			good[name] = list[next[name]%len(list)]
			next[name]++
		}
	}
	body := bodyWith(good, "", "")
	if !server(body) {
		t.Fatalf("no good request was found: %s: %v", body, failing(body))
	}
	if err := compiled.Validate(readJSON(t, body)); err != nil {
		t.Fatalf("the schema refuses a good request: %v", err)
	}
	return good
}

func jsonNames(of reflect.Type) map[string]bool {
	names := make(map[string]bool)
	for f := range of.Fields() {
		names[f.Tag.Get("json")] = true
	}
	return names
}

// bodyWith replaces one member; "" leaves it out.
func bodyWith(good map[string]string, name, value string) []byte {
	members := make(map[string]json.RawMessage)
	for n, v := range good {
		members[n] = json.RawMessage(v)
	}
	if delete(members, name); value != "" {
		members[name] = json.RawMessage(value)
	}
	body, _ := json.Marshal(members)
	return body
}

func readJSON(t *testing.T, body []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return v
}

// compileRequest returns the published schema of a request, and the whole document.
func compileRequest[Req any](t *testing.T) (*jsonschema.Schema, string) {
	t.Helper()
	e := chassi.NewEndpoint("Try", func(context.Context, *Req) (*struct{}, error) { return nil, nil }, chassi.Route("POST /try"), chassi.Public)
	document, err := schema.OpenAPI(schema.Info{Title: "t", Version: "1"}, chassi.NewService("test.v1.Test", e))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("file:///openapi.json", readJSON(t, document)); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("file:///openapi.json#/paths/~1try/post/requestBody/content/application~1json/schema")
	if err != nil {
		t.Fatalf("%v\n%s", err, document)
	}
	return compiled, string(document)
}

// A body must be sent where validation refuses the request that an absent one is: an empty
// object.
func TestBodiesAreRequired(t *testing.T) {
	t.Parallel()
	type optional struct {
		Note string `json:"note" validate:"max=3"`
		Part loose  `json:"part"`
		Wait *part  `json:"wait"`
	}
	type inPath struct {
		ID   string `json:"-" path:"id" validate:"required"`
		Note string `json:"note" validate:"max=3"`
	}
	type needed struct {
		ID   string `json:"-" path:"id"`
		Name string `json:"name" validate:"required"`
	}
	type nested struct {
		Part part `json:"part"`
	}
	type least struct {
		N int `json:"n" validate:"min=1"`
	}
	testBody(t, "POST /try", &optional{}, false)
	testBody(t, "POST /try/{id}", &inPath{ID: "x"}, false)
	testBody(t, "POST /try/{id}", &needed{ID: "x"}, true)
	testBody(t, "POST /try", &nested{}, true)
	testBody(t, "POST /try", &least{}, true)
}

// testBody takes the request that arrives when no body was sent.
func testBody[Req any](t *testing.T, route string, bodiless *Req, required bool) {
	t.Helper()
	checker, err := validation.New(reflect.TypeFor[Req](), validation.Parameters)
	if err != nil {
		t.Fatal(err)
	}
	if refused := checker.Check(bodiless); (refused != nil) != required {
		t.Errorf("%T: without a body: %v", bodiless, refused)
	}
	document, err := schema.OpenAPI(info, chassi.NewService("test.v1.Test", chassi.NewEndpoint("Try", method[Req, struct{}], chassi.Route(route))))
	if got := at(t, parsed(t, document, err), "paths", strings.TrimPrefix(route, "POST "), "post", "requestBody", "required"); got != required {
		t.Errorf("%T: required is %v", bodiless, got)
	}
}

// A tag that cannot be read is an error of the document too.
func TestABrokenTagIsNotDescribed(t *testing.T) {
	t.Parallel()
	type broken struct {
		N int `json:"n" validate:"least=1"`
	}
	e := chassi.NewEndpoint("Try", func(context.Context, *broken) (*struct{}, error) { return nil, nil }, chassi.Route("POST /try"), chassi.Public)
	if _, err := schema.OpenAPI(schema.Info{Title: "t", Version: "1"}, chassi.NewService("test.v1.Test", e)); err == nil || !strings.Contains(err.Error(), "rule least is unknown") {
		t.Errorf("%v", err)
	}
}
