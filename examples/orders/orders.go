package main

import (
	"context"
	"crypto/rand"
	"slices"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/feed"
	"go.opentelemetry.io/otel/trace"
)

// Requests and responses of the service.
type (
	CreateOrderRequest struct {
		Product  string `json:"product" validate:"required,max=64" example:"tea"`
		Quantity int64  `json:"quantity" validate:"min=1,max=1000" example:"2"`
	}
	OrderRequest struct {
		ID string `json:"id" path:"id" validate:"required,max=64"`
	}
	ListOrdersRequest struct {
		Status string `json:"status" query:"status" validate:"omitempty,oneof=pending confirmed rejected shipped cancelled"`
		Sort   string `json:"sort" query:"sort" validate:"omitempty,oneof=newest oldest largest"`
		Limit  int32  `json:"limit" query:"limit" validate:"min=0,max=100"`
		Cursor string `json:"cursor" query:"cursor" validate:"max=300"`
	}
	Order struct {
		ID       string    `json:"id"`
		Customer string    `json:"customer"`
		Product  string    `json:"product"`
		Quantity int64     `json:"quantity"`
		Total    int64     `json:"total"`
		Status   string    `json:"status"`
		Created  time.Time `json:"created"`
	}
	OrderList struct {
		Orders []Order `json:"orders"`
		Next   string  `json:"next"`
	}
)

// Statuses of an order. A pending order is confirmed or rejected by the worker, or cancelled by its
// customer; a confirmed order is shipped by the staff.
const (
	pending   = "pending"
	confirmed = "confirmed"
	rejected  = "rejected"
	shipped   = "shipped"
	cancelled = "cancelled"
)

// permissionShip is the permission that ShipOrder requires.
const permissionShip = "orders:ship"

var (
	ErrNotFound       = chassi.NewError(chassi.NotFound, "order_not_found", "There is no such order")
	ErrNotPending     = chassi.NewError(chassi.FailedPrecondition, "order_not_pending", "The order is not pending")
	ErrNotConfirmed   = chassi.NewError(chassi.FailedPrecondition, "order_not_confirmed", "The order is not confirmed")
	ErrUnknownProduct = chassi.NewError(chassi.FailedPrecondition, "unknown_product", "There is no such product")
	ErrCursor         = chassi.NewError(chassi.InvalidArgument, "invalid_cursor", "The cursor must be the \"next\" of a list with the same sort order")
	ErrWarehouse      = chassi.NewError(chassi.Unavailable, "warehouse_unavailable", "The warehouse is unavailable").WithRetryAfter(time.Second)
)

// Orders implements the service.
type Orders struct {
	store     *Store
	warehouse *Warehouse
	tracer    trace.Tracer
	count     func(event string) // counts orders by event
	changes   *feed.Feed[OrderChange]
	wake      chan struct{} // receives an item when an order is to be queued
}

func newOrders(store *Store, warehouse *Warehouse, tracer trace.Tracer, count func(event string)) *Orders {
	return &Orders{store: store, warehouse: warehouse, tracer: tracer, count: count, changes: newChanges(), wake: make(chan struct{}, 1)}
}

// CreateOrder stores a pending order at the warehouse's current price and returns the order. It
// returns ErrUnknownProduct if the warehouse does not have the product, and ErrWarehouse if the
// call to the warehouse fails.
func (o *Orders) CreateOrder(ctx context.Context, r *CreateOrderRequest) (*Order, error) {
	price, err := o.price(ctx, r.Product)
	if err != nil {
		return nil, err
	}
	order := Order{
		ID: rand.Text(), Customer: chassi.PrincipalFrom(ctx).Subject, Product: r.Product, Quantity: r.Quantity,
		Total: price * r.Quantity, Status: pending, Created: time.Now().UTC().Truncate(time.Microsecond),
	}
	if err := o.store.Insert(ctx, order); err != nil {
		return nil, err
	}
	o.changed(order)
	o.count("created")
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return &order, nil
}

// price returns the price of a product in cents. It requests the price from the warehouse, in a
// separate span.
func (o *Orders) price(ctx context.Context, product string) (int64, error) {
	ctx, span := o.tracer.Start(ctx, "price")
	defer span.End()
	price, err := o.warehouse.Price(ctx, product)
	if err != nil {
		span.RecordError(err)
	}
	return price, err
}

// withPermissions returns a function that calls verify and makes permissionShip the only permission
// of the principals whose subjects are in staff.
func withPermissions(verify func(context.Context, string) (*chassi.Principal, error), staff []string) func(context.Context, string) (*chassi.Principal, error) {
	return func(ctx context.Context, token string) (*chassi.Principal, error) {
		p, err := verify(ctx, token)
		if err == nil && slices.Contains(staff, p.Subject) {
			p.Permissions = []string{permissionShip}
		}
		return p, err
	}
}

// GetOrder returns an order of the caller, or ErrNotFound.
func (o *Orders) GetOrder(ctx context.Context, r *OrderRequest) (*Order, error) {
	order, err := o.store.Get(ctx, r.ID)
	if err == nil && order.Customer != chassi.PrincipalFrom(ctx).Subject {
		return nil, ErrNotFound // the order of another customer is not disclosed
	}
	return order, err
}

// ListOrders returns a page of the caller's orders, or ErrCursor if the cursor is invalid.
func (o *Orders) ListOrders(ctx context.Context, r *ListOrdersRequest) (*OrderList, error) {
	page, err := newPage(r)
	if err != nil {
		return nil, err
	}
	orders, err := o.store.List(ctx, chassi.PrincipalFrom(ctx).Subject, r.Status, page)
	if err != nil {
		return nil, err
	}
	list := &OrderList{Orders: orders}
	if len(orders) > page.limit {
		list.Orders = orders[:page.limit]
		list.Next = page.cursor(orders[page.limit-1])
	}
	return list, nil
}

// CancelOrder cancels a pending order of the caller and returns it. An order that is already
// cancelled is returned unchanged. CancelOrder returns ErrNotPending for an order with another
// status, and ErrNotFound for an order that is not the caller's.
func (o *Orders) CancelOrder(ctx context.Context, r *OrderRequest) (*Order, error) {
	order, err := o.GetOrder(ctx, r)
	if err != nil || order.Status == cancelled {
		return order, err
	}
	return o.move(ctx, order, pending, cancelled, ErrNotPending)
}

// ShipOrder records that a confirmed order has left the warehouse, and returns the order. An order
// that is already shipped is returned unchanged. ShipOrder returns ErrNotConfirmed for an order
// with another status, and ErrNotFound for an order that does not exist.
func (o *Orders) ShipOrder(ctx context.Context, r *OrderRequest) (*Order, error) {
	order, err := o.store.Get(ctx, r.ID)
	if err != nil || order.Status == shipped {
		return order, err
	}
	return o.move(ctx, order, confirmed, shipped, ErrNotConfirmed)
}

// move replaces from, the status of an order, with to, publishes the change, and returns the
// changed order. It returns refusal if the order has another status or was deleted.
func (o *Orders) move(ctx context.Context, order *Order, from, to string, refusal error) (*Order, error) {
	moved, err := o.store.SetStatus(ctx, order.ID, from, to)
	if err != nil {
		return nil, err
	}
	if !moved {
		return nil, refusal
	}
	o.count(to)
	order.Status = to
	o.changed(*order)
	return order, nil
}

// changed publishes a changed order to the streams of WatchOrders.
func (o *Orders) changed(order Order) { o.changes.Publish(&OrderChange{Order: order}) }
