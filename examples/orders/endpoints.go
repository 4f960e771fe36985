package main

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/feed"
)

// Endpoints returns the endpoints of the service, which call the methods of o. Calls of ShipOrder
// are logged to audit.
func Endpoints(o *Orders, audit *slog.Logger) *chassi.Service {
	return chassi.NewService("orders.v1.Orders",
		chassi.NewEndpoint("CreateOrder", o.CreateOrder, chassi.Route("POST /v1/orders"), chassi.Authenticated, chassi.Status(http.StatusCreated),
			chassi.Doc("Orders a product. The price is that of the warehouse at the moment."), chassi.Errors(ErrUnknownProduct, ErrWarehouse)),
		chassi.NewEndpoint("GetOrder", o.GetOrder, chassi.Route("GET /v1/orders/{id}"), chassi.Authenticated, chassi.Idempotent,
			chassi.Doc("Returns an order of the caller."), chassi.Errors(ErrNotFound)),
		chassi.NewEndpoint("ListOrders", o.ListOrders, chassi.Route("GET /v1/orders"), chassi.Authenticated, chassi.Idempotent,
			chassi.Doc("Returns a page of the caller's orders. Its field next is the cursor of the following page."), chassi.Errors(ErrCursor)),
		chassi.NewStream("WatchOrders", o.WatchOrders, chassi.Route("GET /v1/orders/events"), chassi.Authenticated, chassi.Idempotent,
			chassi.Transports("http", "grpc", "nats", "local"),
			chassi.Doc("Streams the changes of the caller's orders. A client that reconnects sends the position of its last item as Last-Event-ID."),
			chassi.Errors(feed.ErrPositionLost, feed.ErrTooSlow)),
		chassi.NewEndpoint("ExportOrders", o.ExportOrders, chassi.Route("GET /v1/orders.csv"), chassi.Authenticated, chassi.Idempotent,
			chassi.Transports("http", "local"), chassi.Doc("Returns the caller's orders as a file. It has the format CSV and the selection of the list.")),
		chassi.NewEndpoint("PutAttachment", o.PutAttachment, chassi.Route("PUT /v1/orders/{id}/attachment"), chassi.Authenticated,
			chassi.Transports("http", "local"), chassi.MaxBody(maxAttachment),
			chassi.Doc("Attaches a file to an order of the caller. It replaces an earlier one."), chassi.Errors(ErrNotFound, ErrChecksum)),
		chassi.NewEndpoint("GetAttachment", o.GetAttachment, chassi.Route("GET /v1/orders/{id}/attachment"), chassi.Authenticated, chassi.Idempotent,
			chassi.Transports("http", "local"), chassi.Doc("Returns the file of an order of the caller. Ranges and conditions are supported."),
			chassi.Errors(ErrNotFound, ErrNoAttachment)),
		chassi.NewEndpoint("CancelOrder", o.CancelOrder, chassi.Route("POST /v1/orders/{id}/cancel"), chassi.Authenticated, chassi.Idempotent,
			chassi.Doc("Cancels a pending order of the caller."), chassi.Errors(ErrNotFound, ErrNotPending)),
		chassi.NewEndpoint("ShipOrder", o.ShipOrder, chassi.Route("POST /v1/orders/{id}/ship"), chassi.Requires(permissionShip), chassi.Idempotent,
			chassi.Doc("Records that a confirmed order was shipped."), chassi.Errors(ErrNotFound, ErrNotConfirmed), chassi.With(auditTo(audit))),
	)
}

// WorkEndpoints returns the endpoints that process the messages of the queue. They are not mounted,
// so clients cannot call them.
func WorkEndpoints(o *Orders) *chassi.Service {
	return chassi.NewService("orders.v1.Work",
		chassi.NewEndpoint("ConfirmOrder", o.ConfirmOrder, chassi.Public, chassi.Errors(ErrNotFound, ErrWarehouse)))
}

// auditTo returns a middleware that logs the endpoint, the request ID and the outcome of each call
// and, if they are known, the caller and the order.
func auditTo(logger *slog.Logger) chassi.Middleware {
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			err := next(ctx, call)
			attrs := []any{"endpoint", b.Endpoint.FullName(), "request_id", call.RequestID, "outcome", "ok"}
			if err != nil {
				attrs[len(attrs)-1] = chassi.ErrorOf(err).Reason
			}
			if call.Principal != nil {
				attrs = append(attrs, "caller", call.Principal.Subject)
			}
			if r, ok := call.Request.(*OrderRequest); ok {
				attrs = append(attrs, "order", r.ID)
			}
			logger.InfoContext(ctx, "audit", attrs...)
			return err
		}
	}
}
