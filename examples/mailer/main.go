// Command mailer consumes messages from a queue, each with one email, and prints the emails instead
// of sending them. Programs in any language can publish the messages; see docs/guide/messages.md.
//
//	go run ./examples/mailer -amqp amqp://guest:guest@127.0.0.1:5672/
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/amqpapi"
	"github.com/chassi-go/chassi/transport/natsapi"
)

// Requests and responses of the service.
type (
	Mail struct {
		To   string `json:"to"`
		Text string `json:"text"`
	}
	Sent struct{}
)

var (
	errNoRecipient = chassi.NewError(chassi.InvalidArgument, "no_recipient", "The mail has no recipient")
	errNoBroker    = chassi.NewError(chassi.InvalidArgument, "no_broker", "Set -nats, -amqp or both")
)

// Mailer implements the service. Its methods do not depend on a broker.
type Mailer struct {
	mu  sync.Mutex
	out io.Writer
}

// Send writes an email to the output. It returns errNoRecipient if the email has no recipient.
func (m *Mailer) Send(_ context.Context, mail *Mail) (*Sent, error) {
	if mail.To == "" {
		return nil, errNoRecipient // permanent: the message becomes a dead letter
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := fmt.Fprintf(m.out, "to %s: %s\n", mail.To, mail.Text); err != nil {
		return nil, err // it is tried again
	}
	return &Sent{}, nil
}

// Endpoints returns the endpoints of the service.
func (m *Mailer) Endpoints() *chassi.Service {
	return chassi.NewService("mailer.v1.Mailer", chassi.NewEndpoint("Send", m.Send, chassi.Public))
}

// queue is the queue that the service consumes.
var queue = transport.Queue{Name: "mail"}

// newApp returns the app, with a server for each broker whose URL is set and the same middleware
// for all of them. It returns errNoBroker if no URL is set.
func newApp(natsURL, amqpURL string, out io.Writer, logger *slog.Logger) (*chassi.App, error) {
	if natsURL == "" && amqpURL == "" {
		return nil, errNoBroker
	}
	app := chassi.NewApp("mailer", chassi.AppOptions{Logger: logger})
	send := (&Mailer{out: out}).Endpoints().Endpoint("Send")
	around := []chassi.Middleware{middleware.Logging(logger), middleware.Recover()}
	if natsURL != "" {
		s := natsapi.New(natsapi.Config{URL: natsURL, Logger: logger}, around...)
		if err := s.Consume(queue, send); err != nil {
			return nil, err
		}
		app.AddServer(s)
	}
	if amqpURL != "" {
		s := amqpapi.New(amqpapi.Config{URL: amqpURL, Logger: logger}, around...)
		if err := s.Consume(queue, send); err != nil {
			return nil, err
		}
		app.AddServer(s)
	}
	return app, nil
}

func main() {
	natsURL := flag.String("nats", "", "nats://host:port of a server with JetStream")
	amqpURL := flag.String("amqp", "", "amqp://user:password@host:port/vhost of RabbitMQ")
	flag.Parse()
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	app, err := newApp(*natsURL, *amqpURL, os.Stdout, logger)
	if err == nil {
		err = app.Run(context.Background())
	}
	if err != nil {
		logger.Error("mailer", "error", err.Error())
		os.Exit(1)
	}
}
