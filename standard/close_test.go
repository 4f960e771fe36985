package standard_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/remote"
)

// A start that fails, at whatever point, leaves nothing open: no connection, no listener, no
// goroutine. It is not parallel, because it counts the goroutines of the process.
func TestFailedStartsLeaveNothingOpen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := taken.Addr().String()
	same := func(*Config) {}
	nothing := func(*testing.T, *assembled) {}
	connected := 0
	for name, c := range map[string]struct {
		set  func(*Config)
		add  func(*testing.T, *assembled)
		want string
	}{
		"New, a NATS URL":      {func(c *Config) { c.NATS.URL, c.NATS.TrustedClients = "nats://127.0.0.1:1", []string{"a"} }, nothing, "nats.named_clients"},
		"New, a host":          {func(c *Config) { c.Admin.Hosts = []string{"http://x"} }, nothing, "admin.hosts"},
		"New, an AMQP URL":     {func(c *Config) { c.AMQP.URL = "http://x" }, nothing, "amqp"},
		"Run, the HTTP port":   {func(c *Config) { c.HTTP.Addr = busy }, nothing, "choose another address"},
		"Run, the gRPC port":   {func(c *Config) { c.GRPC.Addr = busy }, nothing, "choose another address"},
		"Run, the admin port":  {func(c *Config) { c.Admin.Addr = busy }, nothing, "choose another address"},
		"Run, the NATS port":   {func(c *Config) { c.NATS.Embedded.Addr = busy }, nothing, "nats"},
		"Run, a certificate":   {func(c *Config) { c.HTTP.TLS.CertFile, c.HTTP.TLS.KeyFile = "/nowhere", "/nowhere" }, nothing, "nowhere"},
		"Run, one mount twice": {same, func(_ *testing.T, s *assembled) { mounted := test(); s.Mount(mounted, mounted) }, "already mounted"},
		"Run, a component": {same, func(t *testing.T, s *assembled) {
			t.Helper()
			if _, err := remote.Add(s.App, "other", remote.Config{Target: "static:127.0.0.1:1"}, nil, func(string) (client.Caller, error) { return &caller{}, nil }); err != nil {
				t.Error(err)
			}
			s.Add(chassi.ComponentFunc("broken", func(context.Context) error { return errors.New("it does not start") }, nil))
		}, "it does not start"},
		"Close instead of Run": {same, func(t *testing.T, s *assembled) {
			t.Helper()
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}, "was already called"},
	} {
		t.Run(name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			redis := countConnections(t, "127.0.0.1:6379")
			config := defaults(t, "--redis.url=redis://"+redis.Addr().String())
			c.set(&config)
			std, err := assemble(t.Context(), config, standard.Options{Log: new(log)})
			if err == nil {
				c.add(t, std)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				err = std.Run(ctx)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
			await(t, "the connections to Redis are closed", func() bool { return redis.open.Load() == 0 })
			connected += int(redis.made.Load()) // none where the configuration is refused before
			redis.close()
			goleak.VerifyNone(t, before)
		})
	}
	if connected == 0 {
		t.Error("no start got as far as Redis")
	}
}

// counter passes connections on, and counts those that the client has not closed.
type counter struct {
	net.Listener

	made, open atomic.Int64
	running    sync.WaitGroup
}

func countConnections(t *testing.T, server string) *counter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &counter{Listener: l}
	c.running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.made.Add(1)
			c.open.Add(1)
			c.running.Go(func() { c.pass(conn, server) })
		}
	})
	return c
}

// pass returns when the client has closed its side.
func (c *counter) pass(conn net.Conn, server string) {
	defer c.open.Add(-1)
	defer conn.Close()
	upstream, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer upstream.Close()
	c.running.Go(func() { _, _ = io.Copy(conn, upstream) })
	_, _ = io.Copy(upstream, conn)
}

func (c *counter) close() {
	c.Close()
	c.running.Wait()
}

func test() *chassi.Service {
	return chassi.NewService("test.v1.Test", chassi.NewEndpoint("Greet", greet, chassi.Route("GET /greet"), chassi.Public))
}

// caller is a client that reaches nothing.
type caller struct{}

func (*caller) Bind(*chassi.Endpoint) (*chassi.Binding, chassi.Handler, error) {
	return nil, nil, errors.New("not served")
}
