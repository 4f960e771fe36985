package event_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/event"
)

type OrderCreated struct {
	ID string `json:"id" event:"key"`
}

var OrdersCreated = event.NewTopic[OrderCreated]("shop.v1.OrderCreated")

// An event is published in the transaction that causes it, and handled after the commit.
func Example() {
	ctx := context.Background()
	db, err := database.Open(ctx, database.Config{URL: "sqlite::memory:"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()

	handled := make(chan string)
	confirm := func(_ context.Context, e *OrderCreated) error {
		handled <- e.ID
		return nil
	}
	server := event.NewServer(db, event.Options{Logger: slog.New(slog.DiscardHandler)}) // in a program, events.Add of package standard/events
	if err := server.Add(event.Subscribe(OrdersCreated, "confirmation", confirm)); err != nil {
		fmt.Println(err)
		return
	}
	if err := server.Publishes(OrdersCreated); err != nil {
		fmt.Println(err)
		return
	}
	if err := server.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = server.Stop(ctx) }()

	err = db.Write(ctx, func(ctx context.Context, tx *database.Tx) error {
		// A service stores the order here.
		return OrdersCreated.Publish(ctx, tx, &OrderCreated{ID: "order-1"})
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("confirmed", <-handled)
	// Output: confirmed order-1
}

// The effect on the database happens exactly once for each event, whatever is repeated after a
// crash.
func ExampleTransactional() {
	reserve := func(ctx context.Context, e *OrderCreated) error {
		_, err := event.Tx(ctx).Exec(ctx, "INSERT INTO reservations (order_id) VALUES ($1)", e.ID)
		return err
	}
	reservations := event.Subscribe(OrdersCreated, "reservations", reserve, event.Transactional)
	fmt.Println(reservations.Name(), "of", reservations.Topic())
	// Output: reservations of shop.v1.OrderCreated
}
