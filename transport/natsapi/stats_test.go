package natsapi_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/proxytest"
	"github.com/chassi-go/chassi/internal/worktest"
	"github.com/chassi-go/chassi/transport/natsapi"
)

// The figures follow the connections of server and client, and the log has one line at the
// beginning and one at the end of an outage for each connection.
func TestStatsAndLogFollowTheConnections(t *testing.T) {
	t.Parallel()
	addr, err := net.ResolveTCPAddr("tcp", freePort(t))
	if err != nil {
		t.Fatal(err)
	}
	n := privateServer(t, addr, "me", "hunter2")
	defer end(n)
	p := proxytest.New(t, addr.String())
	p.Open()
	var log, clientLog journal
	entered, leave := make(chan struct{}), make(chan struct{})
	s := natsapi.New(natsapi.Config{URL: "nats://me:hunter2@" + p.Addr, Logger: log.logger()})
	if stats := s.Stats(); stats.Connected["requests"] || stats.Consumers != 0 {
		t.Errorf("before Start: %+v", stats)
	}
	service := worktest.Service(func(context.Context, *worktest.Job) (*worktest.Nothing, error) {
		close(entered)
		<-leave
		return &worktest.Nothing{}, nil
	})
	if err := s.Mount(service); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	c := dial(t, natsapi.ClientConfig{URL: "nats://me:hunter2@" + p.Addr, Logger: clientLog.logger()})
	if stats := s.Stats(); !stats.Connected["requests"] || !stats.Connected["responses"] || stats.Consumers == 0 || stats.Reconnects["requests"] != 0 {
		t.Errorf("%+v, want two connections and consumers", stats)
	}
	jobs, err := client.New(service, c)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := client.Invoke[worktest.Nothing](t.Context(), jobs, service.Endpoints()[0].Name(), &worktest.Job{})
		done <- err
	}()
	<-entered
	if in, out := s.Stats().InFlight, c.Stats().InFlight; in != 1 || out != 1 {
		t.Errorf("%d and %d in flight, want 1", in, out)
	}
	close(leave)
	if err := <-done; err != nil {
		t.Error(err)
	}

	p.Cut()
	eventually(t, "all are away", func() bool {
		stats := s.Stats()
		return !stats.Connected["requests"] && !stats.Connected["responses"] && stats.Consumers == 0 && !c.Stats().Connected["client"]
	})
	p.Open()
	eventually(t, "all are back", func() bool {
		stats := s.Stats()
		return stats.Connected["requests"] && stats.Reconnects["requests"] == 1 && stats.Reconnects["responses"] == 1 && stats.Consumers > 0 && c.Stats().Reconnects["client"] == 1
	})
	eventually(t, "the end is logged", func() bool { return strings.Contains(log.String(), "NATS: connected again") })
	if text := log.String(); strings.Count(text, "NATS: disconnected") != 1 || strings.Count(text, "NATS: connected again") != 1 || s.LogsOutage() {
		t.Errorf("want a line at each end:\n%s", text)
	}
}

// With the embedded server, the subscriptions are made for each client. An alert fires if a server
// has none.
func TestConsumersOfTheEmbeddedServer(t *testing.T) {
	t.Parallel()
	b := startEmbedded(t, "")
	s := start(t, natsapi.Config{URL: b.URL(), Broker: b, Logger: quiet}, nil, worktest.Service(func(context.Context, *worktest.Job) (*worktest.Nothing, error) {
		return &worktest.Nothing{}, nil
	}))
	defer stop(t, s)
	if n := s.Stats().Consumers; n == 0 {
		t.Error("no consumers")
	}
}
