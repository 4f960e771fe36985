package amqpapi_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/amqpapi"
)

type greetRequest struct {
	Name string `json:"name"`
}

type greeting struct {
	Text string `json:"text"`
}

func newGreeter() *chassi.Service {
	greet := func(_ context.Context, r *greetRequest) (*greeting, error) {
		return &greeting{Text: "Hello, " + r.Name}, nil
	}
	return chassi.NewService("greet.v1.Greeter", chassi.NewEndpoint("Greet", greet, chassi.Public))
}

// A service over RabbitMQ. The App connects, reconnects after an outage, and on SIGTERM finishes
// the calls in flight before it disconnects.
func ExampleServer() {
	app := chassi.NewApp("greeter", chassi.AppOptions{Logger: slog.Default()})
	app.AddServer(amqpapi.New(amqpapi.Config{URL: "amqp://guest:guest@127.0.0.1:5672/"}))
	app.Mount(newGreeter())
	if err := app.Run(context.Background()); err != nil {
		slog.Error("greeter", "error", err)
	}
}

// A client of the same service.
func ExampleDial() {
	ctx := context.Background()
	conn, err := amqpapi.Dial(ctx, amqpapi.ClientConfig{URL: "amqp://guest:guest@127.0.0.1:5672/"})
	if err != nil {
		slog.Error("connect", "error", err)
		return
	}
	defer conn.Close()
	c, err := client.New(newGreeter(), conn)
	if err != nil {
		slog.Error("greeter", "error", err)
		return
	}
	response, err := client.Invoke[greeting](ctx, c, "Greet", &greetRequest{Name: "Ada"})
	if err != nil {
		slog.Error("greet", "error", err)
		return
	}
	fmt.Println(response.Text)
}

// A work queue: a message is acknowledged after the method has returned without an error.
func ExampleServer_Consume() {
	server := amqpapi.New(amqpapi.Config{URL: "amqp://guest:guest@127.0.0.1:5672/"})
	if err := server.Consume(transport.Queue{Name: "greetings"}, newGreeter().Endpoint("Greet")); err != nil {
		slog.Error("consume", "error", err)
		return
	}
	app := chassi.NewApp("worker", chassi.AppOptions{Logger: slog.Default()})
	app.AddServer(server)
	if err := app.Run(context.Background()); err != nil {
		slog.Error("worker", "error", err)
	}
}
