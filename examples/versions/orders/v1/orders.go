// Package ordersv1 defines the first version of the orders service.
package ordersv1

import (
	"context"

	"github.com/chassi-go/chassi"
)

type (
	// GetOrderRequest identifies the order to return.
	GetOrderRequest struct {
		ID string `json:"id" path:"id" validate:"required"`
	}
	// Order is an order of a single item.
	Order struct {
		ID    string `json:"id"`
		Item  string `json:"item"`
		Price int64  `json:"price" doc:"in cents"`
	}
)

// Service is the interface of this version of the service.
type Service interface {
	GetOrder(ctx context.Context, r *GetOrderRequest) (*Order, error)
}

// Endpoints returns the endpoints of this version of the service, which call the methods of s.
func Endpoints(s Service) *chassi.Service {
	return chassi.NewService("orders.v1.Orders",
		chassi.NewEndpoint("GetOrder", s.GetOrder, chassi.Route("GET /v1/orders/{id}"), chassi.Public, chassi.Idempotent))
}
