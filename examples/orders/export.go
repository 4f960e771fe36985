package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"io"
	"strconv"
	"time"

	"github.com/chassi-go/chassi"
)

type (
	ExportRequest struct {
		Status string `json:"status" query:"status" validate:"omitempty,oneof=pending confirmed rejected shipped cancelled"`
	}
	Export struct {
		File chassi.File `json:"file" doc:"The orders as CSV, oldest first."`
	}
)

// ExportOrders returns the orders of the caller as CSV: all orders, or those with the requested
// status. They are read page by page, all but the first page while the file is sent.
func (o *Orders) ExportOrders(ctx context.Context, r *ExportRequest) (*Export, error) {
	e := &exporter{page: func(cursor string) (*OrderList, error) {
		return o.ListOrders(ctx, &ListOrdersRequest{Status: r.Status, Sort: "oldest", Limit: 100, Cursor: cursor})
	}}
	e.write([]string{"id", "product", "quantity", "total", "status", "created"})
	if err := e.next(); err != nil {
		return nil, err // before anything was sent
	}
	return &Export{File: chassi.File{Reader: e, Name: "orders.csv", Type: "text/csv; charset=utf-8"}}, nil
}

// exporter is an [io.Reader] of all pages of a list of orders, as CSV.
type exporter struct {
	page   func(cursor string) (*OrderList, error)
	cursor string
	done   bool
	text   bytes.Buffer
}

// Read implements [io.Reader].
func (e *exporter) Read(b []byte) (int, error) {
	for e.text.Len() == 0 {
		if e.done {
			return 0, io.EOF
		}
		if err := e.next(); err != nil {
			return 0, err
		}
	}
	return e.text.Read(b)
}

// next reads the next page and writes it to the buffer as CSV.
func (e *exporter) next() error {
	list, err := e.page(e.cursor)
	if err != nil {
		return err
	}
	for _, o := range list.Orders {
		e.write([]string{o.ID, o.Product, strconv.FormatInt(o.Quantity, 10), strconv.FormatInt(o.Total, 10), o.Status, o.Created.UTC().Format(time.RFC3339)})
	}
	e.cursor, e.done = list.Next, list.Next == ""
	return nil
}

func (e *exporter) write(record []string) {
	w := csv.NewWriter(&e.text)
	_ = w.Write(record) // a buffer takes all
	w.Flush()
}
