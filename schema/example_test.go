package schema_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema"
)

type exampleRequest struct {
	ID string `path:"id" validate:"len=8" doc:"Number of the order"`
}

type exampleResponse struct {
	Total int `json:"total" example:"1250"`
}

func ExampleOpenAPI() {
	orders := chassi.NewService("orders.v1.Orders", chassi.NewEndpoint("Get",
		func(context.Context, *exampleRequest) (*exampleResponse, error) { return &exampleResponse{}, nil },
		chassi.Route("GET /v1/orders/{id}"), chassi.Public, chassi.Doc("Returns an order")))
	document, err := schema.OpenAPI(schema.Info{Title: "orders", Version: "1.0.0"}, orders)
	if err != nil {
		fmt.Println(err)
		return
	}
	for line := range strings.Lines(string(document)) {
		if strings.Contains(line, "/v1/orders") || strings.Contains(line, "minLength") || strings.Contains(line, "summary") {
			fmt.Println(strings.TrimSpace(line))
		}
	}
	// Output:
	// "/v1/orders/{id}": {
	// "minLength": 8,
	// "summary": "Returns an order",
}
