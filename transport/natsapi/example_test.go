package natsapi_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/natsapi"
	"github.com/chassi-go/chassi/transport/natsapi/embedded"
)

type mail struct {
	To string `json:"to"`
}

// A work queue: the message is acknowledged after the method has returned without an error.
func ExampleServer_Consume() {
	ctx, quiet := context.Background(), slog.New(slog.DiscardHandler)
	dir, err := os.MkdirTemp("", "natsapi")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	broker := embedded.New(embedded.Config{Addr: "127.0.0.1:0", StoreDir: dir, CredentialsDir: dir + "/clients", Logger: quiet})
	if err := broker.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer broker.Stop(ctx)

	sent := make(chan string)
	send := func(_ context.Context, m *mail) (*struct{}, error) {
		sent <- m.To
		return &struct{}{}, nil
	}
	service := chassi.NewService("mailer.v1.Mailer", chassi.NewEndpoint("Send", send, chassi.Public))
	queue := transport.Queue{Name: "mail"}

	server := natsapi.New(natsapi.Config{Broker: broker, Logger: quiet})
	err = server.Consume(queue, service.Endpoint("Send"))
	if err == nil {
		err = server.Start(ctx) // an App does this
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Stop(ctx)

	client, err := natsapi.Dial(ctx, natsapi.ClientConfig{URL: broker.URL(), Options: broker.WorkOptions()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	publisher, err := client.Publisher(queue)
	if err == nil {
		err = publisher.Publish(ctx, service.Endpoint("Send"), "mail-1", &mail{To: "ada@example.org"})
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(<-sent)
	// Output: ada@example.org
}
