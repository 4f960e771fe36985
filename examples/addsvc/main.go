// Command addsvc is go-kit's example addsvc, migrated to chassi. docs/from-go-kit.md describes each
// step.
package main

import (
	"context"

	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/amqpserver"
	"github.com/chassi-go/chassi/standard/grpcserver"
	"github.com/chassi-go/chassi/standard/natsembedded"
	"github.com/chassi-go/chassi/telemetry/exporters"
)

// Config is the configuration of the program, with a field for each transport other than HTTP.
type Config struct {
	standard.Config

	GRPC grpcserver.Config   `config:"grpc"`
	NATS natsembedded.Config `config:"nats"`
	AMQP amqpserver.Config   `config:"amqp"`
}

func main() { program().Main() }

func program() standard.Program[Config] {
	return standard.Program[Config]{Name: "addsvc", Version: "1.0.0", Setup: setup, TraceExporters: exporters.All()}
}

func setup(_ context.Context, app *standard.App, c *Config) error {
	grpcserver.Add(app, c.GRPC)
	natsembedded.Add(app, c.NATS)
	amqpserver.Add(app, c.AMQP)
	app.Mount(Endpoints(basicService{}))
	return nil
}
