// Command quotes is a service over HTTP, gRPC, NATS and AMQP, with all features of package
// standard, and a client that calls it over each transport.
//
//	go run ./examples/quotes                                     # AMQP with --amqp.url=amqp://...
//	go run ./examples/quotes call                                # from another terminal
package main

import (
	"context"
	"iter"
	"strconv"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/amqpserver"
	"github.com/chassi-go/chassi/standard/grpcserver"
	"github.com/chassi-go/chassi/standard/natsembedded"
	"github.com/chassi-go/chassi/telemetry/exporters"
)

type (
	QuoteRequest struct {
		Author string `json:"author" path:"author" validate:"required"`
	}
	Quote struct {
		Text string `json:"text"`
	}
	WordsRequest struct {
		Author string `json:"author" path:"author" validate:"required"`
		After  string `json:"after" header:"Last-Event-ID"`
	}
	Word struct {
		Position string `json:"position" stream:"id"`
		Text     string `json:"text"`
	}
)

var ErrUnknownAuthor = chassi.NewError(chassi.NotFound, "unknown_author", "The author is unknown")

// Service is the interface of the service. The server and [Client] implement it.
type Service interface {
	Quote(ctx context.Context, r *QuoteRequest) (*Quote, error)
	Words(ctx context.Context, r *WordsRequest) (iter.Seq2[*Word, error], error)
}

type quotes map[string]string

func (q quotes) Quote(_ context.Context, r *QuoteRequest) (*Quote, error) {
	text, ok := q[r.Author]
	if !ok {
		return nil, ErrUnknownAuthor
	}
	return &Quote{Text: text}, nil
}

// Words streams the words of an author's quote after the position in the request.
func (q quotes) Words(_ context.Context, r *WordsRequest) (iter.Seq2[*Word, error], error) {
	words := strings.Fields(q[r.Author])
	after, _ := strconv.Atoi(r.After)
	if len(words) == 0 {
		return nil, ErrUnknownAuthor
	}
	return func(yield func(*Word, error) bool) {
		for n, word := range words {
			if n >= after && !yield(&Word{Position: strconv.Itoa(n + 1), Text: word}, nil) {
				return
			}
		}
	}, nil
}

// Endpoints returns the endpoints of the service, which call the methods of s. One call declares a
// method for all its transports.
func Endpoints(s Service) *chassi.Service {
	return chassi.NewService("quotes.v1.Quotes",
		chassi.NewEndpoint("Quote", s.Quote, chassi.Route("GET /v1/quotes/{author}"), chassi.Public, chassi.Idempotent, chassi.Errors(ErrUnknownAuthor)),
		chassi.NewStream("Words", s.Words, chassi.Route("GET /v1/quotes/{author}/words"), chassi.Public, chassi.Finite,
			chassi.Transports("http", "grpc", "nats", "local"), chassi.Errors(ErrUnknownAuthor)),
	)
}

// Config is the configuration of the program, with a field for each transport other than HTTP.
type Config struct {
	standard.Config

	GRPC grpcserver.Config   `config:"grpc"`
	NATS natsembedded.Config `config:"nats"`
	AMQP amqpserver.Config   `config:"amqp"`
}

func main() {
	standard.Program[Config]{
		Name: "quotes", Version: "1.0.0", Setup: setup, TraceExporters: exporters.All(),
		Commands: []standard.Command[Config]{
			{Name: "call", Settings: "*", Help: "call a running quotes over every transport", Run: call},
		},
	}.Main()
}

func setup(_ context.Context, app *standard.App, c *Config) error {
	grpcserver.Add(app, c.GRPC)
	natsembedded.Add(app, c.NATS)
	amqpserver.Add(app, c.AMQP)
	app.Mount(Endpoints(quotes{"ada": "The engine weaves algebraical patterns.", "grace": "One accurate measurement is worth a thousand expert opinions."}))
	return nil
}
