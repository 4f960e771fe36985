package middleware_test

import (
	"context"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/transport/localapi"
	"github.com/google/go-cmp/cmp"
)

type order struct {
	Name  string   `json:"name" validate:"required,min=2,max=4"`
	Kind  string   `json:"kind" validate:"oneof=new used"`
	Age   int      `json:"age" validate:"min=18,max=130"`
	Tags  []string `json:"tags" validate:"max=1"`
	Items []item   `json:"items"`
	Home  *address `json:"home" validate:"required"`
}

type item struct {
	Count uint `json:"count" validate:"required,max=9"`
}

type address struct {
	Zip string `json:"zip" validate:"min=5"`
}

func endpointOf[Req any]() *chassi.Endpoint {
	return chassi.NewEndpoint("Order", func(context.Context, *Req) (*struct{}, error) { return &struct{}{}, nil }, chassi.Public)
}

func TestValidationNamesEveryBadField(t *testing.T) {
	t.Parallel()
	call := invoke[order](endpointOf[order](), middleware.Validation())
	if err := call(t.Context(), &order{Name: "éèàü", Kind: "new", Age: 18, Home: &address{"12345"}, Items: []item{{9}}}); err != nil {
		t.Errorf("a good request: %v", err)
	}
	err := call(t.Context(), &order{Name: "éèàüö", Kind: "old", Age: 17, Tags: []string{"a", "b"}, Items: []item{{1}, {}, {10}}, Home: &address{"1"}})
	want := []chassi.Violation{
		{Field: "name", Message: "must have at most 4 characters"},
		{Field: "kind", Message: "must be one of new, used"},
		{Field: "age", Message: "must be at least 18"},
		{Field: "tags", Message: "must have at most 1 item"},
		{Field: "items[1].count", Message: "is required and must not be 0"},
		{Field: "items[2].count", Message: "must be at most 9"},
		{Field: "home.zip", Message: "must have at least 5 characters"},
	}
	if diff := cmp.Diff(want, chassi.ErrorOf(err).Violations); diff != "" || chassi.ErrorOf(err).Code != chassi.InvalidArgument {
		t.Errorf("%v\n%s", err, diff)
	}
}

// Over HTTP a field has the name of the parameter that it comes from, elsewhere that of
// the member.
func TestValidationNamesParameters(t *testing.T) {
	t.Parallel()
	type page struct {
		Size int `json:"size" query:"page_size" validate:"max=9"`
	}
	for transport, want := range map[string]string{"http": "page_size", "grpc": "size", "nats": "size"} {
		b := &chassi.Binding{Endpoint: endpointOf[page](), Transport: transport}
		b.Handler(middleware.Validation())
		e := chassi.ErrorOf(b.Verify(&page{Size: 10}))
		if e == nil || len(e.Violations) != 1 || e.Violations[0].Field != want {
			t.Errorf("%s: %v, want a violation of %s", transport, e, want)
		}
	}
}

type broken struct {
	N int `validate:"least=1"`
}

// A tag that cannot be read is found before there is a call.
func TestABrokenTagIsNotMounted(t *testing.T) {
	t.Parallel()
	err := localapi.New(middleware.Validation()).Mount(chassi.NewService("test.v1.Test", endpointOf[broken]()))
	if err == nil || !strings.Contains(err.Error(), "test.v1.Test/Order: validation: middleware_test.broken: field N: rule least is unknown") {
		t.Errorf("%v", err)
	}
}

func BenchmarkValidation(b *testing.B) {
	binding := &chassi.Binding{Endpoint: endpointOf[order]()}
	binding.Handler(middleware.Validation())
	for name, request := range map[string]*order{
		"flat":   {Name: "abc", Kind: "new", Age: 20, Home: &address{"12345"}},
		"nested": {Name: "abc", Kind: "new", Age: 20, Home: &address{"12345"}, Items: []item{{1}, {2}, {3}, {4}}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := binding.Verify(request); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A request that keeps its rules costs no allocation.
func TestValidationDoesNotAllocate(t *testing.T) {
	binding := &chassi.Binding{Endpoint: endpointOf[order]()}
	binding.Handler(middleware.Validation())
	request := &order{Name: "abc", Kind: "new", Age: 20, Tags: []string{"a"}, Home: &address{"12345"}, Items: []item{{1}, {2}}}
	var err error
	if n := testing.AllocsPerRun(100, func() { err = binding.Verify(request) }); n != 0 || err != nil {
		t.Errorf("%v allocations, %v", n, err)
	}
}
