package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/transport/localapi"
)

// The usual order: what watches lies outside of what refuses, so that a refused
// call is logged and counted like any other.
func Example() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "latency_us" {
			return slog.Attr{}
		}
		return a
	}}))
	greet := chassi.NewEndpoint("Greet", func(context.Context, *struct{}) (*struct{}, error) {
		return nil, errors.New("out of greetings")
	}, chassi.Public)
	secret := chassi.NewEndpoint("Secret", func(context.Context, *struct{}) (*struct{}, error) {
		return &struct{}{}, nil
	}, chassi.Authenticated)

	service := chassi.NewService("example.v1.Greeter", greet, secret)
	local := localapi.New(
		middleware.Logging(logger),
		middleware.ErrorReporting(func(_ context.Context, err error) { fmt.Println("reported:", chassi.ErrorOf(err).Reason) }),
		middleware.Recover(),
		middleware.Timeout(time.Second),
		middleware.Authentication(),
		middleware.Validation(),
	)
	if err := local.Mount(service); err != nil {
		fmt.Println(err)
		return
	}
	c, err := client.New(service, local)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, name := range []string{"Greet", "Secret"} {
		_, err := client.Invoke[struct{}](context.Background(), c, name, &struct{}{})
		fmt.Println("answered:", chassi.ErrorOf(err).Message)
	}
	// Output:
	// reported: internal
	// level=ERROR msg=call transport=local route=example.v1.Greeter/Greet status=13 error.code=internal error.reason=internal error.message="Internal error" error.cause="out of greetings"
	// answered: Internal error
	// level=INFO msg=call transport=local route=example.v1.Greeter/Secret status=16 error.code=unauthenticated error.reason=unauthenticated error.message="This call needs credentials"
	// answered: This call needs credentials
}
