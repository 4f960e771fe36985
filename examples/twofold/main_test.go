package main

import (
	"context"
	"log/slog"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/chassitest"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/contracttest"
)

func TestStartsAndStops(t *testing.T) {
	t.Parallel()
	app, err := newApp("127.0.0.1:0", "127.0.0.1:0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- app.Run(ctx) }()
	select {
	case <-app.Started():
	case err := <-result:
		t.Fatal(err)
	}
	stop()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestSay(t *testing.T) {
	t.Parallel()
	hello := func() *chassi.Service {
		return chassi.NewService("hello.v1.Hello", chassi.NewEndpoint("Say", say, chassi.Route("GET /v1/hello/{name}"), chassi.Public))
	}
	chassitest.Everywhere(t, hello, func(t *testing.T, caller client.Caller) {
		c, err := client.New(hello(), caller)
		if err != nil {
			t.Fatal(err)
		}
		if g, err := client.Invoke[Greeting](t.Context(), c, "Say", &SayRequest{Name: "Ada"}); err != nil || g.Text != "Hello, Ada!" {
			t.Errorf("%+v, %v", g, err)
		}
	})
}

func TestContracts(t *testing.T) {
	t.Parallel()
	contracttest.Write(t, "twofold", service())
}
