// Command greeter is a complete service in one file, with two methods over HTTP.
//
//	go run ./examples/greeter
//	curl http://127.0.0.1:8080/v1/hello/Ada
//	curl http://127.0.0.1:8080/v1/greet -H 'Content-Type: application/json' -d '{"names":["Ada","Grace"]}'
package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/transport/httpapi"
)

// Requests and responses of the service. A field is part of the JSON body unless a tag specifies
// another source.
type (
	HelloRequest struct {
		Name string `path:"name"`
	}
	GreetRequest struct {
		Names []string `json:"names"`
	}
	Greeting struct {
		Text string `json:"text"`
	}
)

var errNobody = chassi.NewError(chassi.InvalidArgument, "nobody_to_greet", "There is nobody to greet").
	WithViolations(chassi.Violation{Field: "names", Message: "must have at least one name"})

// Greeter implements the service. Its methods do not depend on HTTP.
type Greeter struct{ word string }

// Hello returns a greeting for one person.
func (g Greeter) Hello(_ context.Context, r *HelloRequest) (*Greeting, error) {
	return &Greeting{Text: g.word + ", " + r.Name + "!"}, nil
}

// Greet returns a greeting for all names in the request, or errNobody if there are none.
func (g Greeter) Greet(_ context.Context, r *GreetRequest) (*Greeting, error) {
	if len(r.Names) == 0 {
		return nil, errNobody
	}
	return &Greeting{Text: g.word + ", " + strings.Join(r.Names, ", ") + "!"}, nil
}

// Endpoints returns the endpoints of the service.
func (g Greeter) Endpoints() *chassi.Service {
	return chassi.NewService("greeter.v1.Greeter",
		chassi.NewEndpoint("Hello", g.Hello, chassi.Route("GET /v1/hello/{name}"), chassi.Public, chassi.Idempotent),
		chassi.NewEndpoint("Greet", g.Greet, chassi.Route("POST /v1/greet"), chassi.Public),
	)
}

// newApp returns the app and its HTTP server, which listens on addr. The first middleware is the
// outermost.
func newApp(addr string, logger *slog.Logger) (*chassi.App, *httpapi.Server, error) {
	server, err := httpapi.New(httpapi.Config{Addr: addr, Logger: logger},
		middleware.Logging(logger), middleware.Recover(), middleware.Timeout(time.Second))
	if err != nil {
		return nil, nil, err
	}
	app := chassi.NewApp("greeter", chassi.AppOptions{Logger: logger})
	app.AddServer(server)
	app.Mount(Greeter{word: "Hello"}.Endpoints())
	return app, server, nil
}

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "host:port to listen on")
	flag.Parse()
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	app, _, err := newApp(*addr, logger)
	if err == nil {
		err = app.Run(context.Background())
	}
	if err != nil {
		logger.Error("greeter", "error", err.Error())
		os.Exit(1)
	}
}
