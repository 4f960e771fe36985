// Command quotes is a service on HTTP, gRPC, NATS and AMQP, with everything that
// package standard brings, and a client that calls it over each.
//
//	go run ./examples/quotes                                     # AMQP with --amqp.url=amqp://...
//	go run ./examples/quotes call                                # from another terminal
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/standard"
)

type (
	QuoteRequest struct {
		Author string `json:"author" path:"author" validate:"required"`
	}
	Quote struct {
		Text string `json:"text"`
	}
)

var ErrUnknownAuthor = chassi.NewError(chassi.NotFound, "unknown_author", "Nothing is known of this author")

// Service is the rules: a plain interface, and the client implements it too.
type Service interface {
	Quote(ctx context.Context, r *QuoteRequest) (*Quote, error)
}

type quotes map[string]string

func (q quotes) Quote(_ context.Context, r *QuoteRequest) (*Quote, error) {
	text, ok := q[r.Author]
	if !ok {
		return nil, ErrUnknownAuthor
	}
	return &Quote{Text: text}, nil
}

// Endpoints is the service at a glance: one line for each method, whatever the
// number of transports.
func Endpoints(s Service) *chassi.Service {
	return chassi.NewService("quotes.v1.Quotes",
		chassi.NewEndpoint("Quote", s.Quote, chassi.Route("GET /v1/quotes/{author}"), chassi.Public, chassi.Idempotent, chassi.Errors(ErrUnknownAuthor)),
	)
}

func main() {
	var c standard.Config
	_, err := config.Load(&c, config.Options{Name: "quotes", Args: os.Args[1:], Environ: os.Environ()})
	switch {
	case err != nil:
	case len(os.Args) > 1 && os.Args[1] == "call":
		err = call(context.Background(), c)
	default:
		err = serve(context.Background(), c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "quotes:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, c standard.Config) error {
	std, err := standard.New(ctx, "quotes", "1.0.0", c, standard.Options{})
	if err != nil {
		return err
	}
	std.Mount(Endpoints(quotes{"ada": "The engine weaves algebraical patterns.", "grace": "One accurate measurement is worth a thousand expert opinions."}))
	return std.Run(ctx)
}
