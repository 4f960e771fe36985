package main

import (
	"testing"

	"github.com/chassi-go/chassi/internal/browsertest"
	"github.com/chassi-go/chassi/internal/dbtest"
)

// The page at /docs shows the contract at every width.
func TestDocsPage(t *testing.T) {
	t.Parallel()
	browser := browsertest.Start(t)
	authd, _ := startAuth(t)
	p := start(t, "--database.url="+dbtest.SQLite(t), "--auth.target="+authd, "--warehouse.url="+newWarehouse(t).URL)
	browsertest.Docs(t, browser, "orders", p.http, "tag/ordersv1orders/POST/v1/orders",
		`document.body.innerText.includes("unknown_product") && document.body.innerText.includes("curl " + location.origin + "/v1/orders")`)
}

// The page shows the endpoints in the order of the service, and its form creates an order and
// lists it.
func TestDocsPageCallsEndpoints(t *testing.T) {
	t.Parallel()
	browser := browsertest.Start(t)
	authd, tokens := startAuth(t, "ada@example.org")
	p := start(t, "--database.url="+dbtest.SQLite(t), "--auth.target="+authd, "--warehouse.url="+newWarehouse(t).URL)
	const tag = "ordersv1orders"
	page := browser.Page(t, 1440, "light")
	page.Open(p.http + "/docs#tag/" + tag)
	page.Wait(`(() => {
		const text = document.body.innerText;
		const at = ["Orders a product", "Returns a page", "Returns an order", "Cancels a pending", "Records that"].map((name) => text.indexOf(name));
		return at.every((n, i) => n >= 0 && (i === 0 || at[i - 1] < n));
	})()`)
	page.OpenForm(p.http, tag, "POST", "/v1/orders")
	page.SetToken(tokens[0])
	page.Send("201 Created")
	page.OpenForm(p.http, tag, "GET", "/v1/orders")
	page.SetToken(tokens[0])
	page.Send("200 OK")
	page.Wait(`document.querySelector("[role=dialog]").innerText.includes("ada@example.org")`)
	page.ExpectQuiet(p.http)
}
