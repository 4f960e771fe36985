package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/goleak"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/chassitest"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/client/httpclient"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/idempotency/sqlstore"
	"github.com/chassi-go/chassi/internal/contract"
	"github.com/chassi-go/chassi/internal/contracttest"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// warehouse is the third party: tea costs 350, coffee is out of stock.
type warehouse struct {
	*httptest.Server

	mu       sync.Mutex
	down     bool
	asked    int
	reserved map[string]bool
	before   func(id string) // a reservation; may be nil
}

func newWarehouse(t *testing.T) *warehouse {
	t.Helper()
	w := &warehouse{reserved: make(map[string]bool)}
	prices := map[string]int64{"tea": 350, "coffee": 500}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /products/{id}", func(rw http.ResponseWriter, r *http.Request) {
		price, ok := prices[r.PathValue("id")]
		if !ok {
			rw.WriteHeader(http.StatusNotFound)
			return
		}
		json.NewEncoder(rw).Encode(map[string]int64{"price": price})
	})
	mux.HandleFunc("PUT /reservations/{id}", func(rw http.ResponseWriter, r *http.Request) {
		var body struct{ Product string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Product == "coffee" {
			rw.WriteHeader(http.StatusConflict)
			return
		}
		if w.before != nil {
			w.before(r.PathValue("id"))
		}
		w.reserve(r.PathValue("id"), true)
	})
	mux.HandleFunc("DELETE /reservations/{id}", func(_ http.ResponseWriter, r *http.Request) { w.reserve(r.PathValue("id"), false) })
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.asked++
		down := w.down
		w.mu.Unlock()
		if down {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(rw, r)
	}))
	t.Cleanup(w.Close)
	return w
}

func (w *warehouse) reserve(id string, reserved bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reserved[id] = reserved
}

func (w *warehouse) setDown(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = down
}

func (w *warehouse) requests() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked
}

// open returns the service on a database of its own.
func open(t *testing.T, url string, w *warehouse) *Orders {
	t.Helper()
	db, err := database.Open(t.Context(), database.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := db.Migrate(t.Context(), migrations()); err != nil {
		t.Fatal(err)
	}
	must(t, event.Migrate(t.Context(), db))
	transport := httpclient.New(httpclient.Options{Name: "warehouse", Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(transport.CloseIdleConnections)
	return newOrders(newStore(db), &Warehouse{url: w.URL, client: &http.Client{Transport: transport}}, noop.NewTracerProvider().Tracer(""), func(string) {})
}

// everywhere runs test over every transport, on each engine. A token is the name of its
// account; that of the staff is "staff".
func everywhere(t *testing.T, test func(t *testing.T, call caller, w *warehouse)) {
	t.Helper()
	dbtest.Engines(t, func(t *testing.T, url string) {
		w := newWarehouse(t)
		o := open(t, url, w)
		verify := func(_ context.Context, token string) (*chassi.Principal, error) {
			return &chassi.Principal{Subject: token, Scheme: "bearer"}, nil
		}
		authentication := middleware.Authentication(middleware.Bearer(withPermissions(verify, []string{"staff"})))
		newService := func() *chassi.Service {
			s := Endpoints(o, slog.New(slog.DiscardHandler))
			secret := func(context.Context) ([]byte, error) { return []byte(strings.Repeat("s", 32)), nil }
			if err := middleware.Idempotency(s, sqlstore.New(o.store.db), middleware.IdempotencyOptions{Secret: secret}, "CreateOrder"); err != nil {
				t.Error(err)
			}
			return s
		}
		chassitest.Everywhere(t, newService, func(t *testing.T, transport client.Caller) {
			test(t, caller{t, transport, t.Name()}, w)
		}, authentication)
	})
}

// caller calls the service as an account.
type caller struct {
	t         *testing.T
	transport client.Caller
	account   string
}

func (c caller) as(account string) caller { return caller{c.t, c.transport, account} }

func (c caller) client(key string) *client.Client {
	c.t.Helper()
	s := Endpoints(new(Orders), slog.New(slog.DiscardHandler))
	invoker, err := client.New(s, c.transport,
		middleware.SendBearer(func(context.Context) (string, error) { return c.account, nil }),
		middleware.SendIdempotencyKey(func(context.Context) string { return key }))
	if err != nil {
		c.t.Fatal(err)
	}
	return invoker
}

func (c caller) create(key string, r CreateOrderRequest) (*Order, error) {
	c.t.Helper()
	return client.Invoke[Order](c.t.Context(), c.client(key), "CreateOrder", &r)
}

// order calls GetOrder, CancelOrder or ShipOrder.
func (c caller) order(method, id string) (*Order, error) {
	c.t.Helper()
	return client.Invoke[Order](c.t.Context(), c.client(""), method, &OrderRequest{ID: id})
}

func (c caller) list(r ListOrdersRequest) *OrderList {
	c.t.Helper()
	list, err := client.Invoke[OrderList](c.t.Context(), c.client(""), "ListOrders", &r)
	if err != nil {
		c.t.Fatal(err)
	}
	return list
}

func (c caller) mustCreate(quantity int64) *Order {
	c.t.Helper()
	o, err := c.create("", CreateOrderRequest{Product: "tea", Quantity: quantity})
	if err != nil {
		c.t.Fatal(err)
	}
	return o
}

// A repeated call with the same key creates one order.
func TestCreateOrder(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, c caller, _ *warehouse) {
		first, err := c.create("key", CreateOrderRequest{Product: "tea", Quantity: 2})
		if err != nil || first.Total != 700 || first.Status != pending || first.Customer != c.account {
			t.Fatalf("%+v, %v", first, err)
		}
		again, err := c.create("key", CreateOrderRequest{Product: "tea", Quantity: 2})
		if err != nil || *again != *first {
			t.Errorf("%+v, %v, want %+v", again, err, first)
		}
		if l := c.list(ListOrdersRequest{}); len(l.Orders) != 1 || l.Orders[0] != *first || l.Next != "" {
			t.Errorf("%+v", l)
		}
		if o, err := c.order("GetOrder", first.ID); err != nil || *o != *first {
			t.Errorf("%+v, %v", o, err)
		}
		_, reused := c.create("key", CreateOrderRequest{Product: "tea", Quantity: 3})
		_, unknown := c.create("", CreateOrderRequest{Product: "gold", Quantity: 1})
		_, none := c.create("", CreateOrderRequest{Product: "tea"})
		_, other := c.as("eve").order("GetOrder", first.ID)
		for reason, err := range map[string]error{
			"idempotency_key_reused": reused, ErrUnknownProduct.Reason: unknown, "invalid_request": none, ErrNotFound.Reason: other,
		} {
			if e := chassi.ErrorOf(err); e == nil || e.Reason != reason {
				t.Errorf("%v, want %s", err, reason)
			}
		}
	})
}

// A list is read page by page, in each sort, while orders are inserted: no order that was
// there at the beginning is missing, and none comes twice.
func TestListOrders(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, c caller, _ *warehouse) {
		var ids []string
		for _, quantity := range []int64{3, 1, 2, 2, 5} {
			ids = append(ids, c.mustCreate(quantity).ID)
		}
		for _, sort := range []string{"newest", "oldest", "largest"} {
			page := c.list(ListOrdersRequest{Sort: sort, Limit: 2})
			seen := page.Orders
			for page.Next != "" {
				c.mustCreate(4)
				page = c.list(ListOrdersRequest{Sort: sort, Limit: 2, Cursor: page.Next})
				seen = append(seen, page.Orders...)
			}
			checkList(t, sort, seen, ids)
		}
		if _, err := c.order("CancelOrder", ids[1]); err != nil {
			t.Fatal(err)
		}
		if l := c.list(ListOrdersRequest{Status: cancelled}); len(l.Orders) != 1 || l.Orders[0].ID != ids[1] {
			t.Errorf("cancelled: %+v", l)
		}
		next := c.list(ListOrdersRequest{Limit: 1}).Next
		for _, cursor := range []string{"x", "bmV3ZXN0", next} {
			_, err := client.Invoke[OrderList](t.Context(), c.client(""), "ListOrders", &ListOrdersRequest{Sort: "oldest", Cursor: cursor})
			if !errors.Is(err, ErrCursor) {
				t.Errorf("%q: %v, want %v", cursor, err, ErrCursor)
			}
		}
	})
}

func checkList(t *testing.T, sort string, list []Order, ids []string) {
	t.Helper()
	times := make(map[string]int)
	for _, o := range list {
		times[o.ID]++
	}
	for _, id := range ids {
		if times[id] != 1 {
			t.Errorf("%s: %s comes %d times", sort, id, times[id])
		}
	}
	if len(times) != len(list) {
		t.Errorf("%s: an order comes twice", sort)
	}
	sorted := slices.IsSortedFunc(list, func(a, b Order) int {
		switch sort {
		case "newest":
			return b.Created.Compare(a.Created)
		case "oldest":
			return a.Created.Compare(b.Created)
		default:
			return int(b.Total - a.Total)
		}
	})
	if !sorted {
		t.Errorf("%s: %+v", sort, list)
	}
}

// Only the staff may ship, and only what is confirmed; only what is pending is cancelled.
func TestCancelAndShip(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, c caller, _ *warehouse) {
		order := c.mustCreate(1)
		_, denied := c.order("ShipOrder", order.ID)
		_, early := c.as("staff").order("ShipOrder", order.ID)
		_, other := c.as("eve").order("CancelOrder", order.ID)
		for range 2 {
			if o, err := c.order("CancelOrder", order.ID); err != nil || o.Status != cancelled {
				t.Errorf("%+v, %v", o, err)
			}
		}
		_, missing := c.as("staff").order("ShipOrder", "none")
		_, anonymous := c.as("").order("GetOrder", order.ID)
		for reason, err := range map[string]error{
			"permission_denied": denied, ErrNotConfirmed.Reason: early, ErrNotFound.Reason: errors.Join(other, missing), "unauthenticated": anonymous,
		} {
			if e := chassi.ErrorOf(err); e == nil || e.Reason != reason {
				t.Errorf("%v, want %s", err, reason)
			}
		}
	})
}

// The keys of callers are in a table of the library's.
func TestMigrationOfIdempotencyKeys(t *testing.T) {
	t.Parallel()
	for _, d := range []database.Dialect{database.SQLite, database.Postgres} {
		text, err := files.ReadFile("migrations/" + d.String() + "/00002_idempotency_keys.sql")
		if err != nil || string(text) != sqlstore.Schema(d) {
			t.Errorf("%v: the migration is not sqlstore.Schema, %v", d, err)
		}
	}
}

func TestContracts(t *testing.T) {
	t.Parallel()
	contracttest.Write(t, "orders", Endpoints(new(Orders), slog.New(slog.DiscardHandler)))
}

// The committed document of the events is that of the code, and a field that is removed from an
// event breaks those who rely on it. CHASSI_UPDATE=1 rewrites the document.
func TestPublishedEvents(t *testing.T) {
	t.Parallel()
	document := func(e *chassi.Endpoint) []byte {
		t.Helper()
		text, err := schema.AsyncAPI(schema.Info{Title: "Orders", Version: "1.0.0", Topics: []schema.Topic{{Event: e, Send: true, Receive: true}}})
		must(t, err)
		return text
	}
	now := document(OrdersCreated.Endpoint())
	if os.Getenv("CHASSI_UPDATE") == "1" {
		must(t, os.WriteFile("events.json", now, 0o644))
	}
	published, err := os.ReadFile("events.json")
	must(t, err)
	broken, err := contract.AsyncAPI(published, now)
	must(t, err)
	if len(broken) > 0 {
		t.Errorf("this breaks subscribers; publish another topic, with the next version in its name: %v", broken)
	}
	if !bytes.Equal(published, now) {
		t.Error("events.json is not what the code says; if the change is meant: CHASSI_UPDATE=1 go test -run TestPublishedEvents ./examples/orders")
	}
	type OrderCreated struct {
		ID       string `event:"key"     json:"id"`
		Product  string `json:"product"`
		Quantity string `json:"quantity"` // another type, and total is removed
	}
	broken, err = contract.AsyncAPI(published, document(event.NewTopic[OrderCreated](OrdersCreated.Name()).Endpoint()))
	must(t, err)
	if text := strings.Join(broken, "\n"); !strings.Contains(text, "total") || !strings.Contains(text, "quantity") {
		t.Errorf("%q, want the field total, which was removed, and the type of quantity", text)
	}
}
