package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/browsertest"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/internal/proxytest"
	"github.com/chassi-go/chassi/transport/grpcapi"
)

// Over every transport, a client gets the changes of its own orders.
func TestWatchOrders(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, call caller, _ *warehouse) {
		if strings.HasSuffix(t.Name(), "/amqp") {
			return // carries no streams
		}
		ada, ben := call.client(""), call.as("ben").client("")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		changes, err := client.Stream[OrderChange](ctx, ada, "WatchOrders", &WatchOrdersRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []*client.Client{ben, ada} {
			if _, err := client.Invoke[Order](ctx, c, "CreateOrder", &CreateOrderRequest{Product: "tea", Quantity: 1}); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		last := ""
		for change, err := range changes {
			if err != nil {
				t.Fatal(err)
			}
			if change.Order.Customer != t.Name() {
				t.Errorf("an order of %s", change.Order.Customer)
			}
			got = append(got, change.Order.Status)
			if last = change.Position; change.Order.Status == cancelled {
				break
			}
			if _, err := client.Invoke[Order](ctx, ada, "CancelOrder", &OrderRequest{ID: change.Order.ID}); err != nil {
				t.Fatal(err)
			}
		}
		if want := []string{pending, cancelled}; !slices.Equal(got, want) || last == "" {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// The page shows changes as they happen, and goes on after the server was restarted.
func TestWatchPage(t *testing.T) {
	t.Parallel()
	browser := browsertest.Start(t)
	authd, tokens := startAuth(t, "ada@example.org")
	w := newWarehouse(t)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	args := []string{"--database.url=" + dbtest.SQLite(t), "--auth.target=" + authd, "--warehouse.url=" + w.URL}
	p := start(t, args...)
	proxy := proxytest.New(t, strings.TrimPrefix(p.http, "http://"))
	proxy.Open()
	page := browser.Page(t, 800, "light")
	page.Open("http://" + proxy.Addr + "/static/")
	page.Wait(`!document.querySelector("button").disabled`) // the script has run
	page.Eval(`document.getElementById("token").focus()`)
	page.Type(tokens[0])
	page.Eval(`document.querySelector("button").click()`)
	page.Wait(`document.getElementById("state").innerText === "Connected"`)
	if _, response := p.call(http.MethodPost, "/v1/orders", tokens[0], CreateOrderRequest{Product: "tea", Quantity: 7}); response.StatusCode != http.StatusCreated {
		t.Fatalf("status %d", response.StatusCode)
	}
	page.Wait(`document.getElementById("changes").innerText.includes("7 tea: confirmed")`)
	if dir := os.Getenv("CHASSI_SCREENSHOTS"); dir != "" {
		page.Screenshot(filepath.Join(dir, "orders.png"))
	}
	for _, problem := range page.Problems() {
		t.Errorf("the page wrote to the console: %s", problem)
	}
	if n := page.Eval(`performance.getEntriesByType("resource").length`); fmt.Sprint(n) == "0" {
		t.Error("the page loaded nothing")
	}
	p.stop()
	proxy.Cut()
	page.Wait(`document.getElementById("state").innerText !== "Connected"`)
	p = start(t, args...) // which does not know the position of the page
	proxy.To(strings.TrimPrefix(p.http, "http://"))
	proxy.Open()
	page.Wait(`document.getElementById("state").innerText === "Connected"`)
	if _, response := p.call(http.MethodPost, "/v1/orders", tokens[0], CreateOrderRequest{Product: "tea", Quantity: 8}); response.StatusCode != http.StatusCreated {
		t.Fatalf("status %d", response.StatusCode)
	}
	page.Wait(`document.getElementById("changes").innerText.includes("8 tea: confirmed")`)
}

// A stream ends within a second of the expiry of the token that authd has issued for it.
func TestWatchEndsWithItsToken(t *testing.T) {
	t.Parallel()
	brief := authConfig
	brief.Token.TTL = 2 * time.Second
	authd, _ := startAuthWith(t, brief)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	p := start(t, "--database.url="+dbtest.SQLite(t), "--auth.target="+authd, "--warehouse.url="+newWarehouse(t).URL)
	caller, err := grpcapi.Dial(grpcapi.ClientConfig{Target: authd})
	must(t, err)
	defer caller.Close()
	token := tokenOf(t, caller, "ada@example.org")
	expires := time.Now().Add(brief.Token.TTL) // or up to a second earlier: claims have whole seconds
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.http+"/v1/orders/events", nil)
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(r)
	must(t, err)
	defer response.Body.Close()
	if now := time.Now(); now.After(expires) {
		expires = now // accepted within the leeway
	}
	body, err := io.ReadAll(response.Body)
	if late := time.Since(expires); err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(body), `"error":"token_expired"`) || late > time.Second {
		t.Errorf("%s, %v %v after the token:\n%s", response.Status, err, late, body)
	}
}
