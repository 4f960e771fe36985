// Command hello is a complete service in one file, with all features of package standard.
//
//	go run ./examples/hello
//	curl http://127.0.0.1:8080/v1/hello/Ada
package main

import (
	"context"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/standard"
)

type HelloRequest struct {
	Name string `path:"name" validate:"max=100"`
}

type Greeting struct {
	Text string `json:"text"`
}

func hello(_ context.Context, r *HelloRequest) (*Greeting, error) {
	return &Greeting{Text: "Hello, " + r.Name + "!"}, nil
}

func endpoints() *chassi.Service {
	return chassi.NewService("hello.v1.Hello",
		chassi.NewEndpoint("Hello", hello, chassi.Route("GET /v1/hello/{name}"), chassi.Public))
}

func main() {
	standard.Program[standard.Config]{Name: "hello", Setup: func(_ context.Context, app *standard.App, _ *standard.Config) error {
		app.Mount(endpoints())
		return nil
	}}.Main()
}
