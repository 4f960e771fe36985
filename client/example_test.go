package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/discovery"
	"github.com/chassi-go/chassi/transport/localapi"
)

type lookupRequest struct {
	ID string `json:"id"`
}

type user struct {
	Name string `json:"name"`
}

var errUnknownUser = chassi.NewError(chassi.NotFound, "unknown_user", "Unknown user")

func lookup(_ context.Context, r *lookupRequest) (*user, error) {
	if r.ID != "1" {
		return nil, errUnknownUser
	}
	return &user{Name: "Ada"}, nil
}

func users() *chassi.Service {
	return chassi.NewService("users.v1.Users", chassi.NewEndpoint("Lookup", lookup, chassi.Public, chassi.Idempotent, chassi.Errors(errUnknownUser)))
}

// A cluster balances the calls of a client over the instances of a service. Here each
// instance is in this process; the Dial function of a real one is that of a transport, such as
// grpcapi.Dial. Errors are those of the service.
func ExampleCluster() {
	ctx := context.Background()
	instances := make(map[string]*localapi.Server)
	for _, addr := range []string{"10.0.0.1:9090", "10.0.0.2:9090"} {
		instances[addr] = localapi.New()
		if err := instances[addr].Mount(users()); err != nil {
			fmt.Println(err)
			return
		}
	}
	source, err := discovery.Parse("static:10.0.0.1:9090,10.0.0.2:9090")
	if err != nil {
		fmt.Println(err)
		return
	}
	cluster, err := client.NewCluster(client.ClusterOptions{
		Name: "users", Source: source, Logger: slog.New(slog.DiscardHandler),
		Dial: func(addr string) (client.Caller, error) {
			if instance, ok := instances[addr]; ok {
				return instance, nil
			}
			return instances["10.0.0.1:9090"], nil // of an address that is only asked what it can call
		},
	})
	if err == nil {
		err = cluster.Start(ctx) // an App does this
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cluster.Stop(ctx)
	remote, err := client.New(users(), cluster)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, id := range []string{"1", "2"} {
		u, err := client.Invoke[user](ctx, remote, "Lookup", &lookupRequest{ID: id})
		if err != nil {
			fmt.Println(errors.Is(err, errUnknownUser), chassi.ErrorOf(err).Message)
			continue
		}
		fmt.Println(u.Name)
	}
	// Output:
	// Ada
	// true Unknown user
}
