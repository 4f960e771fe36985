package natsapi_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/natsapi"
	"github.com/chassi-go/chassi/transport/natsapi/embedded"
)

type mail struct {
	To string `json:"to"`
}

type greetRequest struct {
	Name string `json:"name"`
}

type greeting struct {
	Text string `json:"text"`
}

func greeter() *chassi.Service {
	greet := func(_ context.Context, r *greetRequest) (*greeting, error) {
		return &greeting{Text: "Hello, " + r.Name}, nil
	}
	return chassi.NewService("greet.v1.Greeter", chassi.NewEndpoint("Greet", greet, chassi.Public))
}

// A server and a client of one service over NATS, here with a NATS server in the process.
func ExampleServer() {
	ctx, quiet := context.Background(), slog.New(slog.DiscardHandler)
	dir, err := os.MkdirTemp("", "natsapi")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	broker := embedded.New(embedded.Config{Addr: "127.0.0.1:0", CredentialsDir: dir, Logger: quiet})
	if err := broker.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer broker.Stop(ctx)
	server := natsapi.New(natsapi.Config{Broker: broker, Logger: quiet}) // or Config.URL, of a server elsewhere
	err = server.Mount(greeter())
	if err == nil {
		err = server.Start(ctx) // an App does this
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Stop(ctx)

	transport, err := natsapi.Dial(ctx, natsapi.ClientConfig{URL: broker.URL(), Login: natsapi.Login{NkeyFile: dir + "/default.nk"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer transport.Close()
	remote, err := client.New(greeter(), transport)
	if err != nil {
		fmt.Println(err)
		return
	}
	g, err := client.Invoke[greeting](ctx, remote, "Greet", &greetRequest{Name: "Ada"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(g.Text)
	// Output: Hello, Ada
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
