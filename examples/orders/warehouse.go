package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

var errOutOfStock = errors.New("the product is out of stock")

// Warehouse is a client of the HTTP API of a warehouse, which another company runs.
type Warehouse struct {
	url    string
	client *http.Client
}

// Price returns the price of a product in cents. It returns ErrUnknownProduct if the warehouse does
// not have the product, and ErrWarehouse if the call fails.
func (w *Warehouse) Price(ctx context.Context, product string) (int64, error) {
	var response struct {
		Price int64 `json:"price"`
	}
	status, err := w.do(ctx, http.MethodGet, "/products/"+url.PathEscape(product), http.StatusNotFound, nil, &response)
	switch {
	case err != nil:
		return 0, err
	case status == http.StatusNotFound:
		return 0, ErrUnknownProduct
	default:
		return response.Price, nil
	}
}

// Reserve reserves the products of an order. It returns errOutOfStock if there are not enough, and
// ErrWarehouse if the call fails. It may be called again for the same order, because a reservation
// has the ID of its order.
func (w *Warehouse) Reserve(ctx context.Context, o Order) error {
	body := map[string]any{"product": o.Product, "quantity": o.Quantity}
	status, err := w.do(ctx, http.MethodPut, "/reservations/"+o.ID, http.StatusConflict, body, nil)
	if err == nil && status == http.StatusConflict {
		return errOutOfStock
	}
	return err
}

// Release cancels the reservation for the order with the given ID, if there is one. It returns
// ErrWarehouse if the call fails.
func (w *Warehouse) Release(ctx context.Context, id string) error {
	_, err := w.do(ctx, http.MethodDelete, "/reservations/"+id, http.StatusNotFound, nil, nil)
	return err
}

// do sends a request with body as JSON, decodes a response with a status of 2xx into reply, and
// returns the status. Both body and reply may be nil. do returns ErrWarehouse if there is no
// response, if the response cannot be decoded, or if its status is neither 2xx nor expected.
func (w *Warehouse) do(ctx context.Context, method, path string, expected int, body, reply any) (status int, err error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return 0, fmt.Errorf("warehouse: %w", err)
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, w.url+path, content)
	if err != nil {
		return 0, fmt.Errorf("warehouse: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := w.client.Do(request)
	if err != nil {
		return 0, ErrWarehouse.WithCause(err)
	}
	defer response.Body.Close()
	switch status = response.StatusCode; {
	case status == expected:
		return status, nil
	case status < http.StatusOK, status >= http.StatusMultipleChoices:
		return status, ErrWarehouse.WithCause(fmt.Errorf("%s %s: %s", method, path, response.Status))
	case reply == nil:
		return status, nil
	}
	const maxResponse = 1 << 20
	if err := json.NewDecoder(io.LimitReader(response.Body, maxResponse)).Decode(reply); err != nil {
		return status, ErrWarehouse.WithCause(fmt.Errorf("%s %s: %w", method, path, err))
	}
	return status, nil
}
