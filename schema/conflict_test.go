package schema_test

import (
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema"
	"github.com/chassi-go/chassi/schema/protobuf"
)

// Line is the name of a type in each of two functions: no package distinguishes them.
func firstLine() *chassi.Endpoint {
	type Line struct{ A int }
	type order struct {
		Lines []*Line `json:"lines"`
	}
	return endpoint[order, struct{}]("First")
}

func secondLine() *chassi.Endpoint {
	type Line struct{ B string }
	type page struct {
		Order struct {
			Line Line `json:"line"`
		} `json:"order"`
	}
	return endpoint[struct{}, page]("Second")
}

// Two types that would have one name are refused with the place of each: the service, the
// endpoint and the field.
func TestTypesOfOneNameAreRefusedWithTheirPlaces(t *testing.T) {
	t.Parallel()
	shop := chassi.NewService("shop.v1.Shop", firstLine(), secondLine())
	info := schema.Info{Title: "t", Version: "1"}
	for document, render := range map[string]func() error{
		"OpenAPI":  func() error { _, err := schema.OpenAPI(info, shop); return err },
		"AsyncAPI": func() error { _, err := schema.AsyncAPI(info, shop); return err },
		"protobuf": func() error { _, err := protobuf.File(shop); return err },
	} {
		err := render()
		for _, want := range []string{
			"Line (shop.v1.Shop/First, field lines[])", "Line (shop.v1.Shop/Second, field order.line)", "have the same name Line; rename all but one",
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", document, err, want)
			}
		}
	}
}
