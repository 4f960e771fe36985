package standard_test

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/standard"
)

type pingRequest struct{}

type pong struct {
	Text string `json:"text"`
}

// The main function of a program calls Main instead of Run.
func ExampleProgram() {
	program := standard.Program[standard.Config]{
		Name: "pinger", Version: "1.0.0",
		Setup: func(_ context.Context, app *standard.App, _ *standard.Config) error {
			app.Mount(chassi.NewService("ping.v1.Pinger", chassi.NewEndpoint("Ping",
				func(context.Context, *pingRequest) (*pong, error) { return &pong{"pong"}, nil },
				chassi.Route("GET /v1/ping"), chassi.Public)))
			return nil
		},
	}
	code := program.Run(context.Background(), []string{"version"}, nil, os.Stdin, os.Stdout, io.Discard)
	fmt.Println(code)
	// Output:
	// pinger 1.0.0
	// 0
}
