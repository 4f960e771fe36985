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

// Warehouse is a client of the HTTP API of another company.
type Warehouse struct {
	url    string
	client *http.Client
}

// Price returns the price of a product in cents, or ErrUnknownProduct.
func (w *Warehouse) Price(ctx context.Context, product string) (int64, error) {
	var response struct {
		Price int64 `json:"price"`
	}
	status, err := w.do(ctx, http.MethodGet, "/products/"+url.PathEscape(product), nil, &response)
	switch {
	case err != nil:
		return 0, err
	case status == http.StatusNotFound:
		return 0, ErrUnknownProduct
	default:
		return response.Price, nil
	}
}

// Reserve reserves the products of an order, or returns errOutOfStock. It may be repeated: a
// reservation has the id of its order.
func (w *Warehouse) Reserve(ctx context.Context, o Order) error {
	status, err := w.do(ctx, http.MethodPut, "/reservations/"+o.ID, map[string]any{"product": o.Product, "quantity": o.Quantity}, nil)
	if err == nil && status == http.StatusConflict {
		return errOutOfStock
	}
	return err
}

// Release undoes Reserve.
func (w *Warehouse) Release(ctx context.Context, id string) error {
	_, err := w.do(ctx, http.MethodDelete, "/reservations/"+id, nil, nil)
	return err
}

// do sends a request with body as JSON and decodes the response into reply; either may be nil. It
// returns the status of the response, and ErrWarehouse unless the status is 2xx, 404 or 409.
func (w *Warehouse) do(ctx context.Context, method, path string, body, reply any) (status int, err error) {
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
	case status == http.StatusNotFound, status == http.StatusConflict:
		return status, nil
	case status >= http.StatusMultipleChoices:
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
