package main

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/dbtest"
)

// insert stores a pending order of a product.
func insert(t *testing.T, o *Orders, id, product string) {
	t.Helper()
	if err := o.store.Insert(t.Context(), Order{ID: id, Customer: "ada", Product: product, Quantity: 1, Status: pending, Created: time.Now()}); err != nil {
		t.Fatal(err)
	}
}

// A message that comes twice has one effect; an order that is cancelled while it is being
// confirmed stays cancelled and reserves nothing.
func TestConfirmOrder(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		w := newWarehouse(t)
		o := open(t, url, w)
		w.before = func(id string) {
			if id == "cancelled" {
				if moved, err := o.store.SetStatus(t.Context(), id, pending, cancelled); err != nil || !moved {
					t.Error(moved, err)
				}
			}
		}
		for id, c := range map[string]struct {
			product, status string
			reserved        bool
		}{
			"in stock": {"tea", confirmed, true}, "sold out": {"coffee", rejected, false}, "cancelled": {"tea", cancelled, false},
		} {
			insert(t, o, id, c.product)
			for range 2 {
				if r, err := o.ConfirmOrder(t.Context(), &ConfirmRequest{ID: id}); err != nil || r.Status != c.status {
					t.Errorf("%s: %+v, %v, want %s", id, r, err, c.status)
				}
			}
			if order, err := o.store.Get(t.Context(), id); err != nil || order.Status != c.status || w.reserved[id] != c.reserved {
				t.Errorf("%s: %+v, reserved %t, %v", id, order, w.reserved[id], err)
			}
		}
		if _, err := o.ConfirmOrder(t.Context(), &ConfirmRequest{ID: "none"}); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v, want %v", err, ErrNotFound)
		}
	})
}

// A message that is handled twice at the same time has one effect too.
func TestConfirmOrderTwiceAtOnce(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		w := newWarehouse(t)
		o := open(t, url, w)
		insert(t, o, "a", "tea")
		confirm := func() (*ConfirmResponse, error) { return o.ConfirmOrder(t.Context(), &ConfirmRequest{ID: "a"}) }
		var nested atomic.Bool
		w.before = func(string) {
			if !nested.CompareAndSwap(false, true) {
				return
			}
			if r, err := confirm(); err != nil || r.Status != confirmed {
				t.Errorf("the other delivery: %+v, %v", r, err)
			}
		}
		if r, err := confirm(); err != nil || r.Status != confirmed {
			t.Errorf("%+v, %v", r, err)
		}
		if !w.reserved["a"] {
			t.Error("the order is confirmed, and its reservation is released")
		}
	})
}

// While the warehouse is down the caller learns that it may try again, and the breaker stops
// asking.
func TestWarehouseIsDown(t *testing.T) {
	t.Parallel()
	w := newWarehouse(t)
	o := open(t, dbtest.SQLite(t), w)
	w.setDown(true)
	const calls = 100
	for range calls {
		_, err := o.CreateOrder(t.Context(), &CreateOrderRequest{Product: "tea", Quantity: 1})
		if e := chassi.ErrorOf(err); e == nil || e.Code != chassi.Unavailable || e.RetryAfter == 0 {
			t.Fatalf("%v, want %v", err, ErrWarehouse)
		}
	}
	if n := w.requests(); n == 0 || n >= calls {
		t.Errorf("%d requests for %d calls", n, calls)
	}
}

// Asking for a price is a span of its own, which shows that the warehouse is down.
func TestSpanOfThePrice(t *testing.T) {
	t.Parallel()
	w := newWarehouse(t)
	o := open(t, dbtest.SQLite(t), w)
	recorder := tracetest.NewSpanRecorder()
	o.tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("orders")
	_, _ = o.price(t.Context(), "tea")
	w.setDown(true)
	_, _ = o.price(t.Context(), "tea")
	var events []int
	for _, span := range recorder.Ended() {
		if span.Name() != "price" {
			t.Errorf("a span %q", span.Name())
		}
		events = append(events, len(span.Events()))
	}
	if !slices.Equal(events, []int{0, 1}) {
		t.Errorf("the spans have %v errors, want none and one", events)
	}
}

// broker is a queue that fails until it is repaired.
type broker struct {
	broken bool
	ids    chan string
}

func (b *broker) Publish(_ context.Context, _ *chassi.Endpoint, id string, _ any) error {
	if b.broken {
		return errors.New("the broker is away")
	}
	b.ids <- id
	return nil
}

// An order that cannot be queued is queued later, and once.
func TestQueueWhileTheBrokerIsUnavailable(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		o := open(t, url, newWarehouse(t))
		insert(t, o, "a", "tea")
		b := &broker{broken: true, ids: make(chan string, 10)}
		if err := o.Queue(t.Context(), b); err == nil {
			t.Error("no error while the broker is away")
		}
		b.broken = false
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- o.Queue(ctx, b) }()
		first := <-b.ids
		insert(t, o, "b", "tea")
		o.wake <- struct{}{}
		if second := <-b.ids; first != "a" || second != "b" {
			t.Errorf("%s and %s were queued", first, second)
		}
		o.wake <- struct{}{} // taken once the IDs were recorded
		o.wake <- struct{}{}
		stop()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if ids, err := o.store.NotQueued(t.Context()); len(ids) != 0 || len(b.ids) != 0 || err != nil {
			t.Errorf("%v are not queued, %d came twice, %v", ids, len(b.ids), err)
		}
	})
}
