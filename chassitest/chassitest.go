// Package chassitest runs a test of a service over every transport.
package chassitest

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/transport/amqpapi"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"github.com/chassi-go/chassi/transport/httpapi"
	"github.com/chassi-go/chassi/transport/localapi"
	"github.com/chassi-go/chassi/transport/natsapi"
	"github.com/chassi-go/chassi/transport/natsapi/embedded"
)

// patience is the timeout of each start, each stop and each call.
const patience = 20 * time.Second

// Everywhere runs test five times, in parallel, as subtests: with a service in the same
// process, and over HTTP, gRPC, NATS and AMQP, each with a real server. If the
// service has streams, test is run over HTTP once more, with Server-Sent Events instead of
// JSON Lines ("sse"). A transport is left out if [chassi.Transports] excludes all
// endpoints from it. The NATS server is embedded. AMQP is skipped unless CHASSI_TEST_AMQP
// contains the URL of a RabbitMQ server. NewService is called for each subtest, because an
// endpoint belongs to only one service. Each call passes through middleware for recovery
// and for a timeout of 20 s, then through around, then through validation.
//
//	chassitest.Everywhere(t, greeter.New, func(t *testing.T, caller client.Caller) {
//		c, err := greet.NewClient(caller)
//		...
//	})
func Everywhere(t *testing.T, newService func() *chassi.Service, test func(t *testing.T, caller client.Caller), around ...chassi.Middleware) {
	t.Helper()
	around = append([]chassi.Middleware{middleware.Recover(), middleware.Timeout(patience)}, append(around, middleware.Validation())...)
	quiet := slog.New(slog.DiscardHandler)
	for name, start := range map[string]func(*testing.T, *chassi.Service) client.Caller{
		"local": func(t *testing.T, s *chassi.Service) client.Caller {
			t.Helper()
			server := localapi.New(around...)
			run(t, server, s)
			return server
		},
		"http": func(t *testing.T, s *chassi.Service) client.Caller {
			t.Helper()
			return overHTTP(t, s, httpapi.ClientConfig{}, quiet, around)
		},
		"sse": func(t *testing.T, s *chassi.Service) client.Caller {
			t.Helper()
			return overHTTP(t, s, httpapi.ClientConfig{EventStreams: true}, quiet, around)
		},
		"grpc": func(t *testing.T, s *chassi.Service) client.Caller {
			t.Helper()
			server := grpcapi.New(grpcapi.Config{Addr: "127.0.0.1:0", Logger: quiet}, around...)
			run(t, server, s)
			c, err := grpcapi.Dial(grpcapi.ClientConfig{Target: server.Addr().String()})
			must(t, err)
			t.Cleanup(func() { _ = c.Close() })
			return c
		},
		"nats": func(t *testing.T, s *chassi.Service) client.Caller {
			t.Helper()
			return overNATS(t, s, quiet, around)
		},
		"amqp": func(t *testing.T, s *chassi.Service) client.Caller {
			t.Helper()
			url := os.Getenv("CHASSI_TEST_AMQP")
			if url == "" {
				t.Skip("CHASSI_TEST_AMQP is not set to the URL of a RabbitMQ server")
			}
			prefix := "test" + strconv.FormatUint(rand.Uint64(), 36)
			run(t, amqpapi.New(amqpapi.Config{URL: url, Prefix: prefix, Expires: time.Minute, Logger: quiet}, around...), s)
			c, err := amqpapi.Dial(t.Context(), amqpapi.ClientConfig{URL: url, Prefix: prefix, Logger: quiet})
			must(t, err)
			t.Cleanup(c.Close)
			return c
		},
	} {
		service := newService()
		if !isFor(name, service) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start(t, service))
		})
	}
}

// isFor reports whether s is tested in the subtest called name.
func isFor(name string, s *chassi.Service) bool {
	return slices.ContainsFunc(s.Endpoints(), func(e *chassi.Endpoint) bool {
		if name == "sse" {
			return e.Streams() && e.ServedOver("http")
		}
		return e.ServedOver(name)
	})
}

// overHTTP serves s over HTTP and returns a client of it.
func overHTTP(t *testing.T, s *chassi.Service, c httpapi.ClientConfig, quiet *slog.Logger, around []chassi.Middleware) client.Caller {
	t.Helper()
	server, err := httpapi.New(httpapi.Config{Addr: "127.0.0.1:0", Logger: quiet}, around...)
	must(t, err)
	run(t, server, s)
	c.URL = "http://" + server.Addr().String()
	caller, err := httpapi.NewClient(c)
	must(t, err)
	t.Cleanup(caller.Close)
	return caller
}

// overNATS serves s through an embedded NATS server and returns a client of it.
func overNATS(t *testing.T, s *chassi.Service, quiet *slog.Logger, around []chassi.Middleware) client.Caller {
	t.Helper()
	credentials := t.TempDir()
	key, err := embedded.Credentials(credentials).Add("test")
	must(t, err)
	broker := embedded.New(embedded.Config{Addr: "127.0.0.1:0", CredentialsDir: credentials, Logger: quiet})
	run(t, broker, nil)
	run(t, natsapi.New(natsapi.Config{Broker: broker, MaxConcurrentPerClient: 128, MaxQueuedPerClient: 1024, Logger: quiet}, around...), s)
	c, err := natsapi.Dial(t.Context(), natsapi.ClientConfig{URL: broker.URL(), Login: natsapi.Login{NkeyFile: key}, Logger: quiet})
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

// run starts server, and stops it at the end of the test. If server is a transport, run
// mounts s before the start.
func run(t *testing.T, server chassi.Component, s *chassi.Service) {
	t.Helper()
	if transport, ok := server.(chassi.Transport); ok {
		must(t, transport.Mount(s))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	must(t, server.Start(ctx))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Errorf("Stop of %s returned %v, want nil", server.Name(), err)
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
