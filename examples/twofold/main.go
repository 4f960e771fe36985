// Command twofold serves one method over HTTP and gRPC with few dependencies.
//
//	go run ./examples/twofold
//	curl http://127.0.0.1:8080/v1/hello/Ada
//	grpcurl -plaintext -d '{"name":"Ada"}' 127.0.0.1:9090 hello.v1.Hello/Say
package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"github.com/chassi-go/chassi/transport/httpapi"
)

type (
	SayRequest struct {
		Name string `json:"name" path:"name"`
	}
	Greeting struct {
		Text string `json:"text"`
	}
)

func say(_ context.Context, r *SayRequest) (*Greeting, error) {
	return &Greeting{Text: "Hello, " + r.Name + "!"}, nil
}

func service() *chassi.Service {
	return chassi.NewService("hello.v1.Hello", chassi.NewEndpoint("Say", say, chassi.Route("GET /v1/hello/{name}"), chassi.Public))
}

func newApp(httpAddr, grpcAddr string, logger *slog.Logger) (*chassi.App, error) {
	around := []chassi.Middleware{middleware.Logging(logger), middleware.Recover(), middleware.Timeout(time.Second), middleware.Validation()}
	overHTTP, err := httpapi.New(httpapi.Config{Addr: httpAddr, Logger: logger}, around...)
	if err != nil {
		return nil, err
	}
	app := chassi.NewApp("twofold", chassi.AppOptions{Logger: logger})
	app.AddServer(overHTTP, grpcapi.New(grpcapi.Config{Addr: grpcAddr, Logger: logger}, around...))
	app.Mount(service())
	return app, nil
}

func main() {
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	app, err := newApp("127.0.0.1:8080", "127.0.0.1:9090", logger)
	if err == nil {
		err = app.Run(context.Background())
	}
	if err != nil {
		logger.Error("twofold", "error", err.Error())
		os.Exit(1)
	}
}
