// Command notes stores notes for users with an account at authd. It needs no key of authd, because
// it validates the token of each call by calling authd over gRPC or NATS.
//
//	go run ./cmd/authd serve                                     # in one terminal, and in another:
//	go run ./examples/notes --auth.target=127.0.0.1:9090 \
//	    --http.addr=127.0.0.1:8090 --admin.addr=127.0.0.1:8091 --grpc.addr=127.0.0.1:8092
//	curl -H "Authorization: Bearer $TOKEN" 127.0.0.1:8090/v1/notes --json '{"text":"buy milk"}'
//	curl -H "Authorization: Bearer $TOKEN" 127.0.0.1:8090/v1/notes
//
// With --auth.target=static:HOST:PORT,HOST:PORT, dns:HOST:PORT or srv:NAME, calls to authd are
// divided among several instances. With --auth.transport=nats --auth.nats.url=nats://…
// --auth.nats.nkey_file=FILE, they are made over NATS. After several calls to an instance have failed
// or timed out, calls go to the others. While the circuit breakers of all instances are open, clients
// immediately get status 503 with Retry-After. On the admin listener, /readyz names the instances that
// get no calls, and /metrics reports the number of instances in each state. The settings of the
// calls, under "auth.", are listed by "go run ./examples/notes --help".
package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/grpcserver"
	"github.com/chassi-go/chassi/standard/remote"
	"github.com/chassi-go/chassi/telemetry/exporters"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"github.com/chassi-go/chassi/transport/natsapi"
)

// Config is the configuration of the program.
type Config struct {
	standard.Config

	GRPC grpcserver.Config `config:"grpc"`
	Auth Auth              `config:"auth"`
}

// Auth configures the calls to authd: the addresses of authd, the policy for calls, and the transport.
type Auth struct {
	remote.Config

	Transport string               `config:"transport" default:"grpc" oneof:"grpc,nats" help:"transport of the calls to authd; NATS needs no target"`
	NATS      natsapi.ClientConfig `config:"nats"`
}

// Validate returns an error if the target is invalid, is missing for gRPC, or is set for NATS.
func (c *Config) Validate() error {
	if err := c.Auth.Validate(); err != nil {
		return fmt.Errorf("auth.%w", err)
	}
	if (c.Auth.Transport == "grpc") == (c.Auth.Target == "") {
		return errors.New("auth.target must be set for gRPC, for example static:HOST:PORT,HOST:PORT, and must not be set for NATS")
	}
	return nil
}

func (a Auth) dial(addr string) (client.Caller, error) {
	if a.Transport == "nats" {
		return natsapi.Open(a.NATS)
	}
	return grpcapi.Dial(grpcapi.ClientConfig{Target: addr})
}

func main() { program().Main() }

func program() standard.Program[Config] {
	return standard.Program[Config]{Name: "notes", Version: "1.0.0", Setup: setup, TraceExporters: exporters.All()}
}

// setup adds the client of authd and the endpoints of the program to app.
func setup(_ context.Context, app *standard.App, c *Config) error {
	grpcserver.Add(app, c.GRPC)
	cluster, err := remote.Add(app, "auth", c.Auth.Config, nil, c.Auth.dial)
	if err != nil {
		return err
	}
	users, err := auth.NewClient(cluster, app.Outgoing...)
	if err != nil {
		return err
	}
	app.AddAuthenticator(middleware.Bearer(users.Principal))
	app.Mount(Endpoints(&notebook{}))
	return nil
}
