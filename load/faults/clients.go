package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/transport/amqpapi"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"github.com/chassi-go/chassi/transport/httpapi"
	"github.com/chassi-go/chassi/transport/natsapi"
)

// clients contains the clients that call one node. The client over a broker connects to the broker
// without the proxy, because only the connections of the node have faults.
type clients struct {
	http, grpc *auth.Client
	broker     *auth.Client // nil without a broker
	over       string       // transport of broker: "NATS" or "AMQP"
	closers    []func()
}

// keyOf is the context key of the Idempotency-Key of a call.
type keyOf struct{}

func (c *clients) add(caller client.Caller, closer func()) (*auth.Client, error) {
	c.closers = append(c.closers, closer)
	return auth.NewClient(caller, middleware.SendIdempotencyKey(func(ctx context.Context) string {
		key, _ := ctx.Value(keyOf{}).(string)
		return key
	}))
}

func (c *clients) close() {
	for _, f := range c.closers {
		f()
	}
}

// dial creates the clients over HTTP and gRPC. It makes no call.
func (c *clients) dial(n *node) error {
	overHTTP, err := httpapi.NewClient(httpapi.ClientConfig{URL: "http://" + n.http, Timeout: callTimeout})
	if err != nil {
		return err
	}
	if c.http, err = c.add(overHTTP, overHTTP.Close); err != nil {
		return err
	}
	overGRPC, err := grpcapi.Dial(grpcapi.ClientConfig{Target: n.grpc, Timeout: callTimeout})
	if err != nil {
		return err
	}
	c.grpc, err = c.add(overGRPC, func() { _ = overGRPC.Close() })
	return err
}

// dialNATS creates the client over NATS and connects it to the server at url.
func (c *clients) dialNATS(ctx context.Context, url, prefix string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	caller, err := natsapi.Dial(ctx, natsapi.ClientConfig{URL: url, Prefix: prefix, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	c.over = "NATS"
	c.broker, err = c.add(caller, caller.Close)
	return err
}

// dialAMQP creates the client over AMQP and connects it to the RabbitMQ server at url.
func (c *clients) dialAMQP(ctx context.Context, url, prefix string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	caller, err := amqpapi.Dial(ctx, amqpapi.ClientConfig{URL: url, Prefix: prefix, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	c.over = "AMQP"
	c.broker, err = c.add(caller, caller.Close)
	return err
}
