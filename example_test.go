package chassi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport/localapi"
)

// An endpoint is a method with metadata, a service is a list of endpoints, and a transport serves
// it. Here the transport is the process itself, and its client calls the method by name.
func ExampleNewEndpoint() {
	greeter := chassi.NewService("greet.v1.Greeter",
		chassi.NewEndpoint("Greet", greet, chassi.Route("GET /v1/greet/{name}"), chassi.Public, chassi.Timeout(time.Second)),
	)
	transport := localapi.New() // httpapi.New, grpcapi.New, natsapi.New and amqpapi.New serve the same list
	if err := transport.Mount(greeter); err != nil {
		fmt.Println(err)
		return
	}
	c, err := client.New(greeter, transport)
	if err != nil {
		fmt.Println(err)
		return
	}
	greeting, err := client.Invoke[response](context.Background(), c, "Greet", &request{Name: "Ada"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(greeting.Text)
	// Output: Hello, Ada
}

// The method of a stream returns an iterator: each item that it yields is sent, and yield blocks
// while the client is slower.
func ExampleNewStream() {
	count := func(context.Context, *request) (iter.Seq2[*response, error], error) {
		return func(yield func(*response, error) bool) {
			for n := range 3 {
				if !yield(&response{Text: fmt.Sprint("item ", n)}, nil) {
					return // the client has left, or the server stops
				}
			}
		}, nil
	}
	counter := chassi.NewService("count.v1.Counter", chassi.NewStream("Count", count, chassi.Public, chassi.Finite))
	transport := localapi.New()
	if err := transport.Mount(counter); err != nil {
		fmt.Println(err)
		return
	}
	c, err := client.New(counter, transport)
	if err != nil {
		fmt.Println(err)
		return
	}
	items, err := client.Stream[response](context.Background(), c, "Count", &request{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for item, err := range items {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(item.Text)
	}
	// Output:
	// item 0
	// item 1
	// item 2
}

// A middleware runs once at registration, and what it returns runs for every
// call, the first one outermost. All of them surround the decoding.
func ExampleMiddleware() {
	say := func(name string) chassi.Middleware {
		return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
			fmt.Println("build", name, "for", b.Route)
			return func(ctx context.Context, call *chassi.Call) error {
				fmt.Println("enter", name, "- decoded:", call.Request != nil)
				defer func() { fmt.Println("leave", name, "- answered:", call.Response != nil) }()
				return next(ctx, call)
			}
		}
	}
	greeter := chassi.NewService("greet.v1.Greeter",
		chassi.NewEndpoint("Greet", greet, chassi.Public),
	).Use(say("the service's own"))

	local := localapi.New(say("outer"), say("inner"))
	if err := local.Mount(greeter); err != nil {
		fmt.Println(err)
		return
	}
	c, err := client.New(greeter, local)
	if err != nil {
		fmt.Println(err)
		return
	}
	reply, err := client.Invoke[response](context.Background(), c, "Greet", &request{Name: "Ada"})
	fmt.Println(reply.Text, err)
	// Output:
	// build the service's own for greet.v1.Greeter/Greet
	// build inner for greet.v1.Greeter/Greet
	// build outer for greet.v1.Greeter/Greet
	// enter outer - decoded: false
	// enter inner - decoded: false
	// enter the service's own - decoded: false
	// leave the service's own - answered: true
	// leave inner - answered: true
	// leave outer - answered: true
	// Hello, Ada <nil>
}

// Middleware of a single endpoint runs inside the middleware of the service and the transport.
func ExampleWith() {
	audit := func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			err := next(ctx, call)
			fmt.Println("audit:", b.Route, err)
			return err
		}
	}
	greeter := chassi.NewService("greet.v1.Greeter",
		chassi.NewEndpoint("Greet", greet, chassi.Public, chassi.With(audit)),
	)
	local := localapi.New()
	if err := local.Mount(greeter); err != nil {
		fmt.Println(err)
		return
	}
	c, err := client.New(greeter, local)
	if err != nil {
		fmt.Println(err)
		return
	}
	got, err := client.Invoke[response](context.Background(), c, "Greet", &request{Name: "Ada"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(got.Text)
	// Output:
	// audit: greet.v1.Greeter/Greet <nil>
	// Hello, Ada
}

// A sentinel matches its changed copies, and callers never see the cause.
func ExampleError() {
	errNoSuchUser := chassi.NewError(chassi.NotFound, "no_such_user", "No such user")

	err := fmt.Errorf("find user 7: %w", errNoSuchUser.WithCause(io.EOF))
	fmt.Println(errors.Is(err, errNoSuchUser), errors.Is(err, io.EOF))
	fmt.Println(chassi.ErrorOf(err).Message)

	err = errors.New("dial tcp 10.0.0.7:5432: connection refused")
	fmt.Println(chassi.ErrorOf(err).Message)
	// Output:
	// true true
	// No such user
	// Internal error
}

// All that is wrong is reported together, before anything serves.
func ExampleService_Err() {
	greeter := chassi.NewService("greet.v1.Greeter",
		chassi.NewEndpoint("Greet", greet, chassi.Route("/v1/greet"), chassi.Status(404)),
		chassi.NewEndpoint("Greet", greet),
	)
	fmt.Println(greeter.Err())
	// Output:
	// chassi: endpoint Greet has route "/v1/greet": want "METHOD /path"
	// chassi: endpoint Greet has status 404: want 200 to 299
	// chassi: greet.v1.Greeter has two endpoints named Greet
}

// What others rely on starts first and stops last.
func ExampleApp() {
	server := func(name string) chassi.Component {
		say := func(verb string) func(context.Context) error {
			return func(context.Context) error { fmt.Println(verb, name); return nil }
		}
		return chassi.ComponentFunc(name, say("start"), say("stop"))
	}
	app := chassi.NewApp("greeter", chassi.AppOptions{Logger: slog.New(slog.DiscardHandler)})
	app.AddServer(server("http"))
	app.Add(server("telemetry"), server("database"))

	ctx, stop := context.WithCancel(context.Background())
	go func() {
		<-app.Started()
		fmt.Println("ready:", app.Health(ctx).Ready)
		stop() // in a program: SIGTERM
	}()
	fmt.Println(app.Run(ctx))
	// Output:
	// start telemetry
	// start database
	// start http
	// ready: true
	// stop http
	// stop database
	// stop telemetry
	// <nil>
}

// Background work belongs to the App: it is stopped with it, and what happens when it fails is
// declared.
func ExampleBackground() {
	ctx, stop := context.WithCancel(context.Background())
	app := chassi.NewApp("cleaner", chassi.AppOptions{Logger: slog.New(slog.DiscardHandler)})
	app.Add(chassi.Background("cleaner", chassi.RestartOnExit, func(ctx context.Context) error {
		fmt.Println("cleaning")
		stop()
		<-ctx.Done()
		fmt.Println("stopped")
		return nil
	}))
	fmt.Println(app.Run(ctx))
	// Output:
	// cleaning
	// stopped
	// <nil>
}
