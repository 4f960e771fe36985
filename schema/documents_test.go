package schema_test

import (
	"context"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	ordersv1 "github.com/chassi-go/chassi/examples/versions/orders/v1"
	ordersv2 "github.com/chassi-go/chassi/examples/versions/orders/v2"
	"github.com/chassi-go/chassi/internal/typetest"
	"github.com/chassi-go/chassi/schema"
	"github.com/google/go-cmp/cmp"
)

type (
	// Problem, Error and Headers are called as what the documents have of their own.
	Problem struct{ A int }
	Error   struct{ B *Headers }
	Headers struct{ C string }
	Address struct {
		Street string `json:"street"`
	}
	withAddress struct{ Address Address }
	states      struct {
		Tint  *typetest.Color `json:"tint"`
		State string          `json:"state" validate:"oneof=open closed"`
	}
)

func method[Req, Res any](context.Context, *Req) (*Res, error) { return new(Res), nil }

func endpoint[Req, Res any](name string, options ...chassi.EndpointOption) *chassi.Endpoint {
	return chassi.NewEndpoint(name, method[Req, Res], append(options, chassi.Route("POST /"+name))...)
}

type document = map[string]any

func at(t *testing.T, v any, names ...string) any {
	t.Helper()
	for _, name := range names {
		o, ok := v.(document)
		if !ok || o[name] == nil {
			t.Fatalf("nothing at %s of %v", name, names)
		}
		v = o[name]
	}
	return v
}

func parsed(t *testing.T, text []byte, err error) document {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

var info = schema.Info{Title: "t", Version: "1"}

func openAPI(t *testing.T, services ...*chassi.Service) document {
	t.Helper()
	text, err := schema.OpenAPI(info, services...)
	return parsed(t, text, err)
}

func asyncAPI(t *testing.T, services ...*chassi.Service) document {
	t.Helper()
	text, err := schema.AsyncAPI(info, services...)
	return parsed(t, text, err)
}

func names(t *testing.T, d document, path ...string) string {
	t.Helper()
	o, _ := at(t, d, path...).(document)
	return strings.Join(slices.Sorted(maps.Keys(o)), " ")
}

func versions() []*chassi.Service {
	return []*chassi.Service{ordersv1.Endpoints(orders1{}), ordersv2.Endpoints(orders2{})}
}

type (
	orders1 struct{ ordersv1.Service }
	orders2 struct{ ordersv2.Service }
)

// Two versions of a service side by side are both in every document, in either order, by names that
// distinguish them.
func TestVersionsSideBySide(t *testing.T) {
	t.Parallel()
	reversed := versions()
	slices.Reverse(reversed)
	for _, services := range [][]*chassi.Service{versions(), reversed} {
		d := openAPI(t, services...)
		for version, total := range map[string]string{"v1": "price", "v2": "total"} {
			get := at(t, d, "paths", "/"+version+"/orders/{id}", "get")
			if id := at(t, get, "operationId"); id != "orders_"+version+"_Orders_GetOrder" {
				t.Errorf("the operation of %s is called %v", version, id)
			}
			ref, _ := at(t, get, "responses", "200", "content", "application/json", "schema", "$ref").(string)
			at(t, d, "components", "schemas", ref[strings.LastIndexByte(ref, '/')+1:], "properties", total)
		}
		if got := names(t, d, "components", "schemas"); got != "Line Money Problem V1Order V2Order" {
			t.Errorf("schemas %s", got)
		}
		a := asyncAPI(t, services...)
		if got := names(t, a, "channels"); got != "orders_v1_Orders_GetOrder orders_v1_Orders_GetOrder_reply orders_v2_Orders_GetOrder orders_v2_Orders_GetOrder_reply" {
			t.Errorf("channels %s", got)
		}
		if got := names(t, a, "components", "messages"); got != "Error V1OrdersGetOrderReply V1OrdersGetOrderRequest V2OrdersGetOrderReply V2OrdersGetOrderRequest" {
			t.Errorf("messages %s", got)
		}
	}
	if got := at(t, openAPI(t, versions()[0]), "paths", "/v1/orders/{id}", "get", "operationId"); got != "Orders_GetOrder" {
		t.Errorf("without another version the operation is called %v", got)
	}
}

func TestTypesCalledAsComponentsOfTheDocument(t *testing.T) {
	t.Parallel()
	s := chassi.NewService("shop.v1.Shop", endpoint[Problem, Error]("Do"))
	if got := names(t, openAPI(t, s), "components", "schemas"); got != "Error Headers Problem SchemaTestProblem" {
		t.Errorf("OpenAPI: %s", got)
	}
	if got := names(t, asyncAPI(t, s), "components", "schemas"); got != "Error Headers Problem SchemaTestError SchemaTestHeaders" {
		t.Errorf("AsyncAPI: %s", got)
	}
}

func TestNamesDoNotDependOnTheOrder(t *testing.T) {
	t.Parallel()
	endpoints := func() []*chassi.Endpoint {
		return []*chassi.Endpoint{
			endpoint[Address, Address]("A"), endpoint[withAddress, Address]("B"), endpoint[Address, withAddress]("C"),
			endpoint[struct{ X struct{ Y int } }, struct{ X struct{ Y int } }]("D"),
		}
	}
	forth, back := endpoints(), endpoints()
	slices.Reverse(back)
	want, err := schema.OpenAPI(info, chassi.NewService("a.v1.A", forth...))
	if err != nil {
		t.Fatal(err)
	}
	got, err := schema.OpenAPI(info, chassi.NewService("a.v1.A", back...))
	if diff := cmp.Diff(parsed(t, want, nil), parsed(t, got, err)); diff != "" {
		t.Error(diff)
	}
	if got := names(t, parsed(t, want, nil), "components", "schemas"); got != "Address AddressInput DRequest DResponse Problem WithAddress WithAddressInput" {
		t.Error(got)
	}
}

// Paths are in the order of the services and of their endpoints.
func TestPathsHaveTheOrderOfTheService(t *testing.T) {
	t.Parallel()
	do := func(context.Context, *struct{}) (*struct{}, error) { return nil, nil }
	s := chassi.NewService("a.v1.A",
		chassi.NewEndpoint("Make", do, chassi.Route("POST /z")), chassi.NewEndpoint("Get", do, chassi.Route("GET /b")),
		chassi.NewEndpoint("List", do, chassi.Route("GET /z")), chassi.NewEndpoint("Delete", do, chassi.Route("DELETE /a")))
	text, err := schema.OpenAPI(info, s, chassi.NewService("a.v1.B", chassi.NewEndpoint("Get", do, chassi.Route("GET /0"))))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, id := range regexp.MustCompile(`"operationId": "(\w+)"`).FindAllSubmatch(text, -1) {
		found = append(found, string(id[1]))
	}
	if want := []string{"A_Make", "A_List", "A_Get", "A_Delete", "B_Get"}; !slices.Equal(found, want) {
		t.Errorf("%v, want %v", found, want)
	}
}

func TestGenericsHaveNames(t *testing.T) {
	t.Parallel()
	s := chassi.NewService("a.v1.A",
		endpoint[struct{}, typetest.Page[typetest.Pair[string, int]]]("A"), endpoint[struct{}, typetest.Page[typetest.Base]]("B"),
		endpoint[struct{}, typetest.Page[[]typetest.Base]]("C"), endpoint[struct{}, typetest.Größe]("D"))
	if got := names(t, openAPI(t, s), "components", "schemas"); got != "Base GrU00F6U00DFe PageBase PageListBase PagePairStringInt PairStringInt Problem" {
		t.Error(got)
	}
}

func TestEnumsOfResponses(t *testing.T) {
	t.Parallel()
	properties := at(t, openAPI(t, chassi.NewService("a.v1.A", endpoint[struct{}, states]("A"))), "components", "schemas", "States", "properties")
	if got, _ := at(t, properties, "tint", "enum").([]any); !slices.Contains(got, nil) || len(got) != 4 {
		t.Errorf("an enum that may be null: %v", got)
	}
	if got, _ := at(t, properties, "state", "enum").([]any); len(got) != 2 {
		t.Errorf("oneof of a response: %v", got)
	}
}

// What middleware adds for one endpoint is documented, and so are overload, dependencies that are
// unavailable, and the credentials that there are.
func TestDocumentsListPossibleErrors(t *testing.T) {
	t.Parallel()
	s := chassi.NewService("a.v1.A", endpoint[struct{}, states]("Do", chassi.Requires("a:do")))
	s.Document("Do", map[string]string{"Idempotency-Key": "one for each call"}, chassi.NewError(chassi.Aborted, "idempotency_conflict", "It is being carried out"))
	info := info
	info.Security = []schema.SecurityScheme{{Name: "key", Header: "X-API-Key"}, {Name: "basic", Header: "Authorization", Prefix: "Basic"}}
	text, err := schema.OpenAPI(info, s)
	d := parsed(t, text, err)
	do := at(t, d, "paths", "/Do", "post")
	for status, reason := range map[string]string{"409": "idempotency_conflict", "429": "too_many_concurrent_calls", "503": "overloaded"} {
		at(t, do, "responses", status, "content", "application/problem+json", "examples", reason)
	}
	at(t, do, "responses", "503", "content", "application/problem+json", "examples", "unavailable")
	if got := at(t, do, "parameters").([]any); len(got) != 1 || at(t, got[0], "name") != "Idempotency-Key" {
		t.Errorf("parameters %v", got)
	}
	if names(t, d, "components", "securitySchemes") != "basic key" || at(t, d, "components", "securitySchemes", "basic", "scheme") != "basic" ||
		at(t, d, "components", "securitySchemes", "key", "name") != "X-API-Key" || len(at(t, do, "security").([]any)) != 2 {
		t.Errorf("%v", at(t, d, "components", "securitySchemes"))
	}
}

// A page shows the summary as a heading, and the description below: what comes after the
// first sentence. Several errors of one status are a list in Markdown.
func TestDescriptionsAddToSummaries(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string][2]string{
		"":                            {"Do", "Do."},
		"Do it.":                      {"Do it", "Do it."},
		"Do it":                       {"Do it", "Do it."},
		"Do it. Twice is as good.":    {"Do it", "Twice is as good."},
		"Do it.\n\nTwice is as good.": {"Do it", "Twice is as good."},
		"Do v1.2 of it":               {"Do v1.2 of it", "Do v1.2 of it."},
	} {
		d := openAPI(t, chassi.NewService("a.v1.A", endpoint[struct{}, states]("Do", chassi.Doc(doc))))
		do := at(t, d, "paths", "/Do", "post")
		if got := [2]string{at(t, do, "summary").(string), at(t, do, "description").(string)}; got != want {
			t.Errorf("%q: %q, want %q", doc, got, want)
		}
		if got := at(t, do, "responses", "429", "description"); got != "- `rate_limited`: Too many requests\n- `too_many_concurrent_calls`: Too many calls of one client at once" {
			t.Errorf("429: %q", got)
		}
	}
}

func TestDocumentsNameTheEndpointThatCannotBeDescribed(t *testing.T) {
	t.Parallel()
	s := chassi.NewService("a.v1.A", endpoint[struct{ C chan int }, states]("Do"))
	for _, render := range []func(schema.Info, ...*chassi.Service) ([]byte, error){schema.OpenAPI, schema.AsyncAPI} {
		if _, err := render(info, s); err == nil || !strings.Contains(err.Error(), "a.v1.A/Do") || !strings.Contains(err.Error(), "field C") {
			t.Error(err)
		}
	}
	twice := []*chassi.Service{chassi.NewService("a.v1.A", endpoint[struct{}, states]("Do")), chassi.NewService("b.v1.B", endpoint[struct{}, states]("Do"))}
	if _, err := schema.OpenAPI(info, twice...); err == nil || !strings.Contains(err.Error(), "a.v1.A/Do and b.v1.B/Do") {
		t.Errorf("one route twice: %v", err)
	}
}

// Types and services that no name distinguishes are refused, whichever document it is.
func TestAmbiguousNames(t *testing.T) {
	t.Parallel()
	type States struct{ Local int }
	local := chassi.NewService("a.v1.A", endpoint[states, States]("Do"))
	same := func() *chassi.Service { return chassi.NewService("a.v1.A", endpoint[struct{}, states]("Do")) }
	for _, render := range []func(schema.Info, ...*chassi.Service) ([]byte, error){schema.OpenAPI, schema.AsyncAPI} {
		if _, err := render(info, local); err == nil || !strings.Contains(err.Error(), "have the same name States; rename all but one") {
			t.Errorf("two types of one name: %v", err)
		}
		_, err := render(info, same(), same())
		if err == nil || !strings.Contains(err.Error(), "endpoints a.v1.A/Do and a.v1.A/Do have the same operation ID a_v1_A_Do; rename a service") {
			t.Errorf("one service twice: %v", err)
		}
	}
}
