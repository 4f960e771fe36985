package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Each call accepts the statuses that have a meaning for it, and no other one.
func TestWarehouseStatuses(t *testing.T) {
	t.Parallel()
	var status int
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`{"price":100}`))
	}))
	defer server.Close()
	w := &Warehouse{url: server.URL, client: server.Client()}
	price := func() error { _, err := w.Price(t.Context(), "book"); return err }
	reserve := func() error { return w.Reserve(t.Context(), Order{ID: "a"}) }
	release := func() error { return w.Release(t.Context(), "a") }
	for name, c := range map[string]struct {
		call func() error
		want map[int]error
	}{
		"price":   {price, map[int]error{200: nil, 404: ErrUnknownProduct, 409: ErrWarehouse, 302: ErrWarehouse, 500: ErrWarehouse}},
		"reserve": {reserve, map[int]error{200: nil, 404: ErrWarehouse, 409: errOutOfStock, 500: ErrWarehouse}},
		"release": {release, map[int]error{200: nil, 404: nil, 409: ErrWarehouse, 500: ErrWarehouse}},
	} {
		for status = range c.want {
			if err := c.call(); !errors.Is(err, c.want[status]) {
				t.Errorf("%s with status %d: got %v, want %v", name, status, err, c.want[status])
			}
		}
	}
}
