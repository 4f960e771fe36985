package schema_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema"
	"github.com/google/go-cmp/cmp"
)

type (
	putRequest struct {
		ID    string   `json:"-" path:"id" doc:"The id of the item."`
		Draft *bool    `json:"-" query:"draft"`
		Tags  []string `json:"-" query:"tag" validate:"max=3"`
		Name  string   `json:"name" validate:"required,min=2,max=9" doc:"What people call it." example:"a lamp"`
		Size  int64    `json:"size,string" query:"size"`
		Price int32    `json:"price" validate:"min=0" example:"250"`
		Sold  bool     `json:"sold" example:"true"`
		Code  int64    `json:"code,string" example:"17"`
		Kinds []string `json:"kinds"`
		More  any      `json:"more"`
		Maker *maker   `json:"maker" validate:"required" doc:"Where it is made."`
	}
	putResponse struct {
		Item *item `json:"item" doc:"What is stored now."`
	}
	maker struct {
		City string `json:"city"`
	}
	item struct {
		Name string `json:"name"`
		Note string `json:"note,omitempty"`
	}
)

// shop has an endpoint with most of what can be documented, one with little, and one that has
// no route.
func shop() *chassi.Service {
	return chassi.NewService("shop.v1.Shop",
		chassi.NewEndpoint("Put", method[putRequest, putResponse], chassi.Route("PUT /v1/items/{id}"), chassi.Requires("items:write", "items:read"),
			chassi.Doc("Stores <an item>. It replaces an earlier one.\n\nIts id stays."), chassi.Errors(chassi.NewError(chassi.Aborted, "item_changed", "The item has changed"))),
		chassi.NewEndpoint("Sweep", method[struct{}, struct{}], chassi.Public, chassi.Doc("Deletes what is old.")),
		chassi.NewEndpoint("Clear", method[struct{}, struct{}], chassi.Route("DELETE /v1/items/{$}"), chassi.Public, chassi.Status(http.StatusNoContent)),
	)
}

var shopInfo = schema.Info{
	Title: "Shop & Co", Version: "1.2.0", Description: "Sells things.", License: "Apache-2.0", Contact: "https://shop.example", Servers: []string{"https://a.example", "https://b.example"},
}

// same compares a part of a document with JSON.
func same(t *testing.T, what string, got any, want string) {
	t.Helper()
	var wanted any
	if err := json.Unmarshal([]byte(want), &wanted); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("%s:\n%s", what, diff)
	}
}

func TestDocumentsHaveInfo(t *testing.T) {
	t.Parallel()
	text, err := schema.OpenAPI(shopInfo, shop())
	d := parsed(t, text, err)
	same(t, "info", at(t, d, "info"), `{"title":"Shop & Co","version":"1.2.0","description":"Sells things.","license":{"name":"Apache-2.0","identifier":"Apache-2.0"},
		"contact":{"name":"Shop & Co","url":"https://shop.example"}}`)
	same(t, "servers", at(t, d, "servers"), `[{"url":"https://a.example"},{"url":"https://b.example"}]`)
	same(t, "tags", at(t, d, "tags"), `[{"name":"shop.v1.Shop","description":"The service shop.v1.Shop"}]`)
	text, err = schema.AsyncAPI(shopInfo, shop())
	same(t, "AsyncAPI, whose licenses have no identifier", at(t, parsed(t, text, err), "info", "license"), `{"name":"Apache-2.0"}`)
	bare := openAPI(t, shop())
	same(t, "without more", at(t, bare, "info"), `{"title":"t","version":"1"}`)
	same(t, "AsyncAPI without more", at(t, asyncAPI(t, shop()), "info"), `{"title":"t","version":"1"}`)
	if bare["servers"] != nil {
		t.Errorf("servers %v, want none", bare["servers"])
	}
}

func TestOperationsDescribeMessages(t *testing.T) {
	t.Parallel()
	d := openAPI(t, shop())
	if got := names(t, d, "paths"); got != "/v1/items/ /v1/items/{id}" {
		t.Errorf("paths %s", got)
	}
	put := at(t, d, "paths", "/v1/items/{id}", "put").(document)
	delete(put, "responses")
	same(t, "put", put, `{"operationId":"Shop_Put","tags":["shop.v1.Shop"],"security":[{"bearer":[]}],
		"summary":"Stores <an item>","description":"It replaces an earlier one.\n\nIts id stays.",
		"parameters":[
			{"name":"id","in":"path","required":true,"description":"The id of the item.","schema":{"type":"string","description":"The id of the item."}},
			{"name":"draft","in":"query","required":false,"schema":{"type":"boolean"}},
			{"name":"tag","in":"query","required":false,"schema":{"type":"array","items":{"type":"string"},"maxItems":3}},
			{"name":"size","in":"query","required":false,"schema":{"type":"integer","format":"int64"}}],
		"requestBody":{"required":true,"content":{"application/json":{"schema":{"$ref":"#/components/schemas/PutRequest"}}}}}`)
	remove := at(t, d, "paths", "/v1/items/", "delete").(document)
	same(t, "204", at(t, remove, "responses", "204"), `{"description":"No Content",
		"headers":{"X-Request-Id":{"description":"The id of the call. State it when you report a problem.","schema":{"type":"string"}}}}`)
	delete(remove, "responses")
	same(t, "delete", remove, `{"operationId":"Shop_Clear","tags":["shop.v1.Shop"],"security":[],"summary":"Clear","description":"Clear."}`)
	same(t, "the body", at(t, d, "components", "schemas", "PutRequest"), `{"type":"object","additionalProperties":false,"required":["maker","name"],"properties":{
		"name":{"type":"string","minLength":2,"maxLength":9,"description":"What people call it.","examples":["a lamp"]},
		"price":{"type":"integer","format":"int32","minimum":0,"maximum":2147483647,"examples":[250]},
		"sold":{"type":"boolean","examples":[true]},
		"code":{"type":"string","format":"int64","pattern":"^(0|-?[1-9][0-9]*)$","examples":["17"]},
		"kinds":{"type":["array","null"],"items":{"type":"string"}},
		"maker":{"$ref":"#/components/schemas/Maker","description":"Where it is made."},
		"more":{}}}`)
	same(t, "the response", at(t, d, "components", "schemas", "PutResponse"), `{"type":"object","required":["item"],"properties":{
		"item":{"description":"What is stored now.","anyOf":[{"$ref":"#/components/schemas/Item"},{"type":"null"}]}}}`)
}

// reasons are those of an operation's responses, by status.
func reasons(t *testing.T, operation any) string {
	t.Helper()
	var list []string
	responses := at(t, operation, "responses").(document)
	for _, status := range slices.Sorted(maps.Keys(responses)) {
		content, _ := responses[status].(document)["content"].(document)
		problem, ok := content["application/problem+json"].(document)
		if !ok {
			continue
		}
		list = append(list, status+" "+names(t, problem, "examples"))
	}
	return strings.Join(list, ", ")
}

// An endpoint lists what can be wrong with calls of it, and no more: one without input is never
// malformed, one without a body has none that is too large, one that is public needs no credentials.
func TestOperationsListTheirErrors(t *testing.T) {
	t.Parallel()
	const always = "429 rate_limited too_many_concurrent_calls, 500 internal, 503 overloaded unavailable, 504 deadline_exceeded"
	type byID struct {
		ID string `json:"-" path:"id"`
	}
	d := openAPI(t, shop(), chassi.NewService("shop.v1.Other",
		chassi.NewEndpoint("Get", method[byID, struct{}], chassi.Route("GET /v1/others/{id}"), chassi.Authenticated)))
	for path, want := range map[string]string{
		"/v1/items/{id} put": "400 invalid_request malformed_request, 401 invalid_token unauthenticated, 403 permission_denied, 408 body_timeout, " +
			"409 item_changed, 413 body_too_large, 415 unsupported_media_type, " + always,
		"/v1/items/ delete":   always,
		"/v1/others/{id} get": "400 invalid_request malformed_request, 401 invalid_token unauthenticated, " + always,
	} {
		pattern, method, _ := strings.Cut(path, " ")
		operation := at(t, d, "paths", pattern, method)
		if got := reasons(t, operation); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
		for _, status := range []string{"429", "500", "503"} {
			if got := names(t, operation.(document), "responses", status, "headers"); (got == "Retry-After X-Request-Id") != (status != "500") {
				t.Errorf("%s: headers of %s: %s", path, status, got)
			}
		}
	}
	same(t, "an error", at(t, d, "paths", "/v1/items/{id}", "put", "responses", "409", "content"), `{"application/problem+json":{"schema":{"$ref":"#/components/schemas/Problem"},
		"examples":{"item_changed":{"value":{"type":"about:blank","title":"Conflict","status":409,"detail":"The item has changed","instance":"urn:request:0af7651916cd43dd",
			"code":"aborted","error":"item_changed","message":"The item has changed"}}}}}`)
	if got := at(t, d, "paths", "/v1/items/{id}", "put", "responses", "401", "description"); got != "- `unauthenticated`: This call needs credentials\n- `invalid_token`: Invalid token" {
		t.Errorf("the description of 401: %v", got)
	}
}

// A document without a route has no component that nothing refers to.
func TestDocumentsWithoutRoutesOrCredentialsHaveNoPartsForThem(t *testing.T) {
	t.Parallel()
	public := chassi.NewService("a.v1.A", chassi.NewEndpoint("Do", method[struct{}, struct{}], chassi.Public))
	same(t, "components", at(t, openAPI(t, public), "components"), `{"schemas":{}}`)
}

func TestSecuritySchemes(t *testing.T) {
	t.Parallel()
	info := info
	info.Security = []schema.SecurityScheme{
		{Name: "token", Header: "authorization", Prefix: "Bearer", Format: "JWT", Doc: "Of a login."}, {Name: "basic", Header: "Authorization", Prefix: "Basic"},
		{Name: "key", Header: "X-API-Key", Doc: "Of a machine."}, {Name: "prefixed", Header: "X-Token", Prefix: "Bearer"},
	}
	text, err := schema.OpenAPI(info, shop())
	same(t, "of an operator's choice", at(t, parsed(t, text, err), "components", "securitySchemes"), `{
		"token":{"type":"http","scheme":"bearer","bearerFormat":"JWT","description":"Of a login."},"basic":{"type":"http","scheme":"basic"},
		"key":{"type":"apiKey","in":"header","name":"X-API-Key","description":"Of a machine."},"prefixed":{"type":"apiKey","in":"header","name":"X-Token"}}`)
	same(t, "by default", at(t, openAPI(t, shop()), "components", "securitySchemes"), `{"bearer":{"type":"http","scheme":"bearer","bearerFormat":"JWT"}}`)
	text, err = schema.AsyncAPI(info, shop())
	headers := at(t, parsed(t, text, err), "components", "schemas", "Headers", "properties").(document)
	if got := fmt.Sprint(at(t, headers, "X-API-Key", "description")); got != "Where the method needs credentials: key (X-API-Key)." {
		t.Error(got)
	}
}
