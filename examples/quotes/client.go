package main

import (
	"context"
	"fmt"
	"iter"
	"path/filepath"

	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/transport/amqpapi"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"github.com/chassi-go/chassi/transport/httpapi"
	"github.com/chassi-go/chassi/transport/natsapi"
)

// Client calls the service over any transport.
type Client struct{ *client.Client }

func (c *Client) Quote(ctx context.Context, r *QuoteRequest) (*Quote, error) {
	return client.Invoke[Quote](ctx, c.Client, "Quote", r)
}

func (c *Client) Words(ctx context.Context, r *WordsRequest) (iter.Seq2[*Word, error], error) {
	return client.Stream[Word](ctx, c.Client, "Words", r)
}

func NewClient(caller client.Caller) (*Client, error) {
	c, err := client.New(Endpoints((*Client)(nil)), caller)
	return &Client{c}, err
}

// call implements the command call: it makes the same call over every enabled transport and prints
// the responses. To include NATS, give both the service and this command --nats.url=embedded.
func call(ctx context.Context, i *standard.Invocation[Config]) error {
	c := i.Config
	overHTTP, err := httpapi.NewClient(httpapi.ClientConfig{URL: "http://" + c.HTTP.Addr})
	if err != nil {
		return err
	}
	defer overHTTP.Close()
	overGRPC, err := grpcapi.Dial(grpcapi.ClientConfig{Target: c.GRPC.Addr})
	if err != nil {
		return err
	}
	defer overGRPC.Close()
	callers := []client.Caller{overHTTP, overGRPC}
	if c.NATS.URL == "embedded" {
		key := filepath.Join(c.NATS.Embedded.CredentialsDir, "default.nk")
		overNATS, err := natsapi.Dial(ctx, natsapi.ClientConfig{URL: "nats://" + c.NATS.Embedded.Addr, Login: natsapi.Login{NkeyFile: key}})
		if err != nil {
			return err
		}
		defer overNATS.Close()
		callers = append(callers, overNATS)
	}
	if c.AMQP.URL != "" {
		overAMQP, err := amqpapi.Dial(ctx, amqpapi.ClientConfig{URL: c.AMQP.URL, Prefix: c.AMQP.Prefix})
		if err != nil {
			return err
		}
		defer overAMQP.Close()
		callers = append(callers, overAMQP)
	}
	for _, caller := range callers {
		service, err := NewClient(caller)
		if err != nil {
			return err
		}
		quote, err := service.Quote(ctx, &QuoteRequest{Author: "ada"})
		if err != nil {
			return err
		}
		fmt.Fprintf(i.Out, "%T: %s\n", caller, quote.Text)
	}
	return nil
}
