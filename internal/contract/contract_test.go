package contract_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/contract"
	"github.com/chassi-go/chassi/schema"
	"github.com/chassi-go/chassi/schema/protobuf"
)

type (
	before struct {
		ID   string   `json:"id" path:"id"`
		Name string   `json:"name" validate:"max=10"`
		Kind string   `json:"kind" validate:"oneof=a b"`
		Tags []string `json:"tags"`
	}
	after struct {
		ID   string `json:"id" path:"id"`
		Page int    `json:"page" query:"page" validate:"required"`
		Name string `json:"name" validate:"required,max=5"`
		Kind string `json:"kind" validate:"oneof=a c"`
		Tags []int  `json:"tags"`
		New  string `json:"new" validate:"required"`
	}
	wider struct {
		ID   string   `json:"id" path:"id"`
		Name string   `json:"name" validate:"max=20"`
		Kind string   `json:"kind" validate:"oneof=a b c"`
		Tags []string `json:"tags"`
		New  string   `json:"new"`
	}
	thing struct {
		ID    string `json:"id"`
		Count int    `json:"count"`
		Self  *thing `json:"self"`
	}
	less struct {
		ID    string `json:"id,omitempty"`
		Count string `json:"count"`
	}
	more struct {
		ID    string `json:"id"`
		Count int    `json:"count"`
		Self  *more  `json:"self"`
		Extra string `json:"extra"`
	}
)

func method[Req, Res any](context.Context, *Req) (*Res, error) { return nil, nil }

func documents(t *testing.T, endpoints ...*chassi.Endpoint) (openAPI, proto []byte) {
	t.Helper()
	s := chassi.NewService("test.v1.Things", endpoints...)
	openAPI, err := schema.OpenAPI(schema.Info{Title: "t", Version: "1"}, s)
	if err != nil {
		t.Fatal(err)
	}
	file, err := protobuf.File(s)
	if err != nil {
		t.Fatal(err)
	}
	return openAPI, []byte(protobuf.Text(file))
}

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	old, _ := documents(t,
		chassi.NewEndpoint("Put", method[before, thing], chassi.Route("PUT /things/{id}"), chassi.Public),
		chassi.NewEndpoint("Gone", method[struct{}, thing], chassi.Route("GET /gone"), chassi.Public),
		chassi.NewEndpoint("Moved", method[struct{}, thing], chassi.Route("POST /moved"), chassi.Public))
	broken, _ := documents(t,
		chassi.NewEndpoint("Put", method[after, less], chassi.Route("PUT /things/{id}")),
		chassi.NewEndpoint("Moved", method[struct{}, thing], chassi.Route("POST /moved"), chassi.Public, chassi.Status(201)))
	got, err := contract.OpenAPI(old, broken)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"GET /gone: is gone",
		"POST /moved: does not respond with 200 any more",
		"PUT /things/{id}: needs a token now",
		"PUT /things/{id}: parameter query page is new and required",
		"PUT /things/{id} request.kind: b is not allowed any more",
		"PUT /things/{id} request.name: minLength is 1 now",
		"PUT /things/{id} request.name: maxLength is 5 now",
		"PUT /things/{id} request.tags[]: was string, is integer",
		"PUT /things/{id} request: name is required now",
		"PUT /things/{id} request: new is required now",
		"PUT /things/{id} response.count: was integer, is string",
		"PUT /things/{id} response: self is gone",
		"PUT /things/{id} response: id may be missing now",
		"PUT /things/{id} response: self may be missing now",
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	fine, _ := documents(t,
		chassi.NewEndpoint("Put", method[wider, more], chassi.Route("PUT /things/{id}"), chassi.Public),
		chassi.NewEndpoint("Gone", method[struct{}, thing], chassi.Route("GET /gone"), chassi.Public),
		chassi.NewEndpoint("Moved", method[struct{}, thing], chassi.Route("POST /moved"), chassi.Public),
		chassi.NewEndpoint("New", method[before, thing], chassi.Route("PUT /new/{id}")))
	if got, err := contract.OpenAPI(old, fine); err != nil || len(got) > 0 {
		t.Errorf("what breaks nobody: %v, %v", got, err)
	}
	if _, err := contract.OpenAPI([]byte("{"), fine); err == nil {
		t.Error("half a document was compared")
	}
}

func TestProto(t *testing.T) {
	t.Parallel()
	_, old := documents(t, chassi.NewEndpoint("Put", method[before, thing]), chassi.NewEndpoint("Gone", method[struct{}, thing]))
	_, broken := documents(t, chassi.NewEndpoint("Put", method[after, thing]))
	got := strings.Join(contract.Proto(old, broken), "\n")
	for _, want := range []string{"message GoneRequest", "service Things method Gone: is gone", "service Things method Put: was Before to Thing, is After to Thing"} {
		if want != "message GoneRequest" && !strings.Contains(got, want) {
			t.Errorf("%q is not in:\n%s", want, got)
		}
	}
	swapped := strings.ReplaceAll(string(old), "string kind = 3", "string kind = 9")
	if got := contract.Proto(old, []byte(swapped)); len(got) != 1 || got[0] != "message Before field 3: is gone" {
		t.Errorf("%v", got)
	}
	if got := contract.Proto(old, []byte(strings.ReplaceAll(string(old), "repeated string tags", "repeated int64 tags"))); len(got) != 1 || !strings.Contains(got[0], "was repeated string tags") {
		t.Errorf("%v", got)
	}
	if got := contract.Proto(old, old); len(got) > 0 {
		t.Errorf("%v", got)
	}
}
