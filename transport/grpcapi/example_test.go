package grpcapi_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport/grpcapi"
)

type sumRequest struct {
	A int `json:"a"`
	B int `json:"b"`
}

type sumResponse struct {
	Sum int `json:"sum"`
}

func sum(_ context.Context, r *sumRequest) (*sumResponse, error) {
	return &sumResponse{Sum: r.A + r.B}, nil
}

func adder() *chassi.Service {
	return chassi.NewService("add.v1.Adder", chassi.NewEndpoint("Sum", sum, chassi.Public))
}

// A server and a client of one service over gRPC.
func ExampleServer() {
	ctx := context.Background()
	server := grpcapi.New(grpcapi.Config{Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)})
	if err := server.Mount(adder()); err != nil {
		fmt.Println(err)
		return
	}
	if err := server.Start(ctx); err != nil { // an App does this
		fmt.Println(err)
		return
	}
	defer server.Stop(ctx)

	transport, err := grpcapi.Dial(grpcapi.ClientConfig{Target: server.Addr().String()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer transport.Close()
	remote, err := client.New(adder(), transport)
	if err != nil {
		fmt.Println(err)
		return
	}
	response, err := client.Invoke[sumResponse](ctx, remote, "Sum", &sumRequest{A: 2, B: 3})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(response.Sum)
	// Output: 5
}
