package schema_test

import (
	"context"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
)

// A response is not held against its rules, so that no schema of a response has them, but for
// the values of oneof, which programs are made for.
func TestRulesOfResponses(t *testing.T) {
	t.Parallel()
	type response struct {
		Bounded  string  `json:"bounded" validate:"required,min=3"`
		Optional string  `json:"optional" validate:"omitempty,min=3"`
		One      string  `json:"one" validate:"omitempty,oneof=a b"`
		Pointer  *string `json:"pointer" validate:"omitempty,oneof=a b"`
		Either   string  `json:"either" validate:"len=4|oneof=a b|oneof=c d"`
	}
	e := chassi.NewEndpoint("Get", func(context.Context, *struct{}) (*response, error) { return nil, nil }, chassi.Route("GET /response"))
	d := openAPI(t, chassi.NewService("a.v1.A", e))
	same(t, "members", at(t, d, "components", "schemas", "Response", "properties"), `{
		"bounded":{"type":"string"},"optional":{"type":"string"},
		"one":{"type":"string","anyOf":[{"maxLength":0},{"enum":["a","b"]}]},
		"pointer":{"type":["string","null"],"enum":["a","b",null]},
		"either":{"type":"string"}}`)
}

type (
	// Forest holds itself behind members that have no names of their own.
	Forest []struct {
		Rest map[string]Forest `json:",embed"`
	}
	// Grove does not hold itself, but a type that does.
	Grove []Forest
	// Chain holds itself behind a struct without a name.
	Chain []struct {
		Next Chain
	}
)

func TestTypesThatHoldThemselves(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for _, of := range []reflect.Type{reflect.TypeFor[struct{ Forest Forest }](), reflect.TypeFor[struct{ Chain Chain }](), reflect.TypeFor[struct{ Grove Grove }]()} {
		if err := compare(of, r, 40, true); err != nil {
			t.Errorf("%v: %v", of, err)
		}
	}
}

type (
	// texted is read from JSON in one way and from text in another.
	texted int
	// numbered has a way of its own to be read from JSON alone.
	numbered int32
)

func (*texted) UnmarshalJSON([]byte) error   { return nil }
func (*texted) UnmarshalText([]byte) error   { return nil }
func (*numbered) UnmarshalJSON([]byte) error { return nil }

// A parameter is text, whatever its type is in JSON.
func TestParametersAreText(t *testing.T) {
	t.Parallel()
	type request struct {
		Since    time.Time     `json:"-" query:"since"`
		For      time.Duration `json:"-" query:"for"`
		Texted   texted        `json:"-" query:"texted"`
		Numbered *numbered     `json:"-" header:"Numbered"`
		List     []texted      `json:"-" query:"list" validate:"required"`
	}
	d := openAPI(t, chassi.NewService("a.v1.A", chassi.NewEndpoint("Get", method[request, struct{}], chassi.Route("GET /get"))))
	same(t, "parameters", at(t, d, "paths", "/get", "get", "parameters"), `[
		{"name":"since","in":"query","required":false,"schema":{"type":"string","format":"date-time"}},
		{"name":"for","in":"query","required":false,"schema":{"type":"string","pattern":"^-?[0-9]{1,10}(\\.[0-9]{1,9})?s$","description":"A duration in seconds, such as 1.5s."}},
		{"name":"texted","in":"query","required":false,"schema":{"type":"string"}},
		{"name":"Numbered","in":"header","required":false,"schema":{"type":"integer","format":"int32","minimum":-2147483648,"maximum":2147483647}},
		{"name":"list","in":"query","required":true,"schema":{"type":"array","items":{"type":"string"},"minItems":1}}]`)
	if body := at(t, d, "paths", "/get", "get").(document)["requestBody"]; body != nil {
		t.Errorf("a body: %v", body)
	}
}

// A request whose members have no names of their own has a body, which need not be sent.
func TestRequestsOfAnyMembers(t *testing.T) {
	t.Parallel()
	type anything struct {
		Rest map[string]int `json:",embed"`
	}
	d := openAPI(t, chassi.NewService("a.v1.A", endpoint[anything, struct{}]("Do")))
	same(t, "the body", at(t, d, "paths", "/Do", "post", "requestBody"), `{"required":false,"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Anything"}}}}`)
	same(t, "its schema", at(t, d, "components", "schemas", "Anything"), `{"type":"object","properties":{},"additionalProperties":{"type":"integer","format":"int64"}}`)
}
