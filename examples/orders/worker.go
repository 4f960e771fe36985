package main

import (
	"context"
	"errors"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
)

// queue contains a message for each order to be confirmed.
var queue = transport.Queue{Name: "orders"}

// ConfirmRequest is a message of the queue.
type ConfirmRequest struct {
	ID string `json:"id"`
}

// ConfirmResponse is the outcome of the confirmation.
type ConfirmResponse struct {
	Status string `json:"status"`
}

// ConfirmOrder reserves the products of a pending order at the warehouse and confirms the order, or
// rejects the order if they are out of stock. If the order has been cancelled in the meantime,
// ConfirmOrder releases the reservation. It returns the status of the order. Processing a message
// again does no harm, because the reservation has the ID of the order, and an order that is not
// pending is not changed.
func (o *Orders) ConfirmOrder(ctx context.Context, r *ConfirmRequest) (*ConfirmResponse, error) {
	order, err := o.store.Get(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	if order.Status != pending {
		return &ConfirmResponse{order.Status}, nil
	}
	status := confirmed
	switch err := o.warehouse.Reserve(ctx, *order); {
	case errors.Is(err, errOutOfStock):
		status = rejected
	case err != nil:
		return nil, err
	}
	switch _, err := o.move(ctx, order, pending, status, ErrNotPending); {
	case errors.Is(err, ErrNotPending): // cancelled in the meantime, or confirmed by another delivery
		if order, err = o.store.Get(ctx, r.ID); err != nil {
			return nil, err
		}
		if order.Status == cancelled {
			err = o.warehouse.Release(ctx, order.ID)
		}
		return &ConfirmResponse{order.Status}, err
	case err != nil:
		return nil, err
	}
	return &ConfirmResponse{status}, nil
}

// publisher publishes messages to the queue.
type publisher interface {
	Publish(ctx context.Context, e *chassi.Endpoint, id string, request any) error
}

// pollInterval is the interval at which Queue queries the orders that another instance has stored
// but not queued because that instance was stopped or could not reach the broker.
const pollInterval = 5 * time.Second

// Queue publishes the stored orders that are not yet queued, until ctx is done or an error occurs.
// An order is stored first and queued later, so that no order is lost while the broker is
// unavailable.
func (o *Orders) Queue(ctx context.Context, p publisher) error {
	confirm := WorkEndpoints(o).Endpoint("ConfirmOrder")
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if err := o.queueStored(ctx, p, confirm); err != nil {
			return err
		}
		select {
		case <-o.wake:
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (o *Orders) queueStored(ctx context.Context, p publisher, confirm *chassi.Endpoint) error {
	for {
		ids, err := o.store.NotQueued(ctx)
		if err != nil || len(ids) == 0 {
			return err
		}
		for _, id := range ids {
			if err := p.Publish(ctx, confirm, id, &ConfirmRequest{ID: id}); err != nil {
				return err
			}
		}
		if err := o.store.SetQueued(ctx, ids); err != nil {
			return err
		}
	}
}
