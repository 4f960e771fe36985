// Command notes keeps notes for whoever has an account at authd. It knows no key of
// authd's: it asks the service whose token a call brings, over gRPC or NATS.
//
//	go run ./cmd/authd serve                                     # in one terminal, and in another:
//	go run ./examples/notes --auth.target=127.0.0.1:9090 \
//	    --http.addr=127.0.0.1:8090 --admin.addr=127.0.0.1:8091 --grpc.addr=off
//	curl -H "Authorization: Bearer $TOKEN" 127.0.0.1:8090/v1/notes --json '{"text":"buy milk"}'
//	curl -H "Authorization: Bearer $TOKEN" 127.0.0.1:8090/v1/notes
//
// Several authd share the calls with --auth.target=static:HOST:PORT,HOST:PORT, or
// dns:HOST:PORT, or srv:NAME; over NATS with --auth.transport=nats --auth.nats.url=nats://… --auth.nats.nkey_file=FILE.
// While one is down or hangs, calls go to the others; while all are, callers get 503 with
// Retry-After at once. /readyz and /metrics on the admin listener tell how they do. What
// bounds a call stands under "auth." in "go run ./examples/notes --help".
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"github.com/chassi-go/chassi/transport/natsapi"
)

// Config is all that can be set.
type Config struct {
	standard.Config

	Auth Auth `config:"auth"`
}

// Auth says where authd is and how it is called.
type Auth struct {
	standard.Remote

	Transport string               `config:"transport" default:"grpc" oneof:"grpc,nats" help:"over what authd is called; NATS needs no target"`
	NATS      natsapi.ClientConfig `config:"nats"`
}

// Validate refuses a target where none is used, and none where one is.
func (c *Config) Validate() error {
	if (c.Auth.Transport == "grpc") == (c.Auth.Target == "") {
		return errors.New("auth.target: gRPC needs one, such as static:HOST:PORT,HOST:PORT, and NATS none")
	}
	return nil
}

func (a Auth) dial(addr string) (client.Caller, error) {
	if a.Transport == "nats" {
		return natsapi.Open(a.NATS)
	}
	return grpcapi.Dial(grpcapi.ClientConfig{Target: addr})
}

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "notes:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if slices.Contains(args, "--help") {
		return config.Usage(os.Stdout, new(Config), "notes")
	}
	var c Config
	if _, err := config.Load(&c, config.Options{Name: "notes", Args: args, Environ: os.Environ(), File: "notes.yaml"}); err != nil {
		return err
	}
	return serve(ctx, c)
}

// serve is the wiring, top to bottom.
func serve(ctx context.Context, c Config) error {
	var users *auth.Client
	std, err := standard.New(ctx, "notes", "1.0.0", c.Config, standard.Options{
		Authenticators: []middleware.Authenticator{middleware.Bearer(func(ctx context.Context, token string) (*chassi.Principal, error) {
			return users.Principal(ctx, token)
		})},
	})
	if err != nil {
		return err
	}
	cluster, err := std.Cluster("auth", c.Auth.Remote, nil, c.Auth.dial)
	if err != nil {
		return errors.Join(err, std.Telemetry.Stop(ctx))
	}
	if users, err = auth.NewClient(cluster, std.Outgoing...); err != nil {
		return errors.Join(err, std.Telemetry.Stop(ctx))
	}
	std.Mount(Endpoints(&notebook{}))
	return std.Run(ctx)
}
