package main

import (
	"context"
	"embed"
	"iter"
	"net/http"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/feed"
)

// changesKept is the maximum number of changes that a client may miss and still resume.
const changesKept = 1000

// WatchOrdersRequest requests the changes after the position After, or all future changes if After
// is empty.
type WatchOrdersRequest struct {
	After string `json:"after" header:"Last-Event-ID" validate:"max=64"`
}

// OrderChange is an order after a change.
type OrderChange struct {
	Position string `json:"position" stream:"id"`
	Order    Order  `json:"order"`
}

func newChanges() *feed.Feed[OrderChange] {
	return feed.New(changesKept, func(c *OrderChange, id string) { c.Position = id })
}

// WatchOrders streams the changes that this instance makes to the caller's orders.
func (o *Orders) WatchOrders(ctx context.Context, r *WatchOrdersRequest) (iter.Seq2[*OrderChange, error], error) {
	customer := chassi.PrincipalFrom(ctx).Subject
	all, err := o.changes.From(ctx, r.After)
	if err != nil {
		return nil, err
	}
	return func(yield func(*OrderChange, error) bool) {
		for change, err := range all {
			if err == nil && change.Order.Customer != customer {
				continue
			}
			if !yield(change, err) {
				return
			}
		}
	}, nil
}

//go:embed static
var static embed.FS

// servePage serves the web page that shows the changes, at /static/.
func servePage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", "default-src 'none'; connect-src 'self'; script-src 'self'; frame-ancestors 'none'")
	http.FileServerFS(static).ServeHTTP(w, r)
}
