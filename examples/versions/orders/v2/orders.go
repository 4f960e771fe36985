// Package ordersv2 defines the second version of the orders service, in which an order can have
// several lines and a price has a currency.
package ordersv2

import (
	"context"

	"github.com/chassi-go/chassi"
)

type (
	// GetOrderRequest identifies the order to return.
	GetOrderRequest struct {
		ID string `json:"id" path:"id" validate:"required"`
	}
	// Order is an order of one or more items.
	Order struct {
		ID    string `json:"id"`
		Lines []Line `json:"lines"`
		Total Money  `json:"total"`
	}
	// Line is an item of an order, with its price.
	Line struct {
		Item  string `json:"item"`
		Price Money  `json:"price"`
	}
	// Money is an amount in the smallest unit of a currency.
	Money struct {
		Amount   int64  `json:"amount,string"`
		Currency string `json:"currency" doc:"ISO 4217"`
	}
)

// Service is the interface of this version of the service.
type Service interface {
	GetOrder(ctx context.Context, r *GetOrderRequest) (*Order, error)
}

// Endpoints returns the endpoints of this version of the service, which call the methods of s.
func Endpoints(s Service) *chassi.Service {
	return chassi.NewService("orders.v2.Orders",
		chassi.NewEndpoint("GetOrder", s.GetOrder, chassi.Route("GET /v2/orders/{id}"), chassi.Public, chassi.Idempotent))
}
