package amqpapi_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/proxytest"
	"github.com/chassi-go/chassi/internal/worktest"
	"github.com/chassi-go/chassi/transport/amqpapi"
)

// lockedText is a log that several write to.
type lockedText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// The figures follow the connections of server and client, and the log has one line at the
// beginning and one at the end of an outage for each connection, however many attempts fail.
func TestStatsAndLogFollowTheConnections(t *testing.T) {
	t.Parallel()
	direct := rabbitURL(t)
	service := worktest.Service(nil)
	pre := prefix(t, direct, service.Name())
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	p := proxytest.New(t, u.Host)
	p.Open()
	u.Host = p.Addr
	entered, leave := make(chan struct{}), make(chan struct{})
	service = worktest.Service(func(context.Context, *worktest.Job) (*worktest.Nothing, error) {
		close(entered)
		<-leave
		return &worktest.Nothing{}, nil
	})
	var log lockedText
	logger := slog.New(slog.NewTextHandler(&log, nil))
	s := start(t, amqpapi.Config{URL: u.String(), Prefix: pre, Logger: logger}, nil, service)
	c := dial(t, amqpapi.ClientConfig{URL: u.String(), Prefix: pre, Logger: slog.New(slog.DiscardHandler)})
	defer stop(t, s)
	if stats := s.Stats(); !stats.Connected["requests"] || !stats.Connected["responses"] || stats.Consumers != 1 || stats.Reconnects["requests"] != 0 {
		t.Errorf("%+v, want two connections and a consumer", stats)
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
	until(t, "all are away", func() bool {
		stats := s.Stats()
		return !stats.Connected["requests"] && !stats.Connected["responses"] && stats.Consumers == 0 && !c.Stats().Connected["client"]
	})
	p.Open()
	until(t, "all are back", func() bool {
		stats := s.Stats()
		return stats.Reconnects["requests"] == 1 && stats.Reconnects["responses"] == 1 && stats.Consumers == 1 && c.Stats().Reconnects["client"] == 1
	})
	until(t, "the end is logged", func() bool { return strings.Contains(log.String(), "AMQP: connected again") })
	if text := log.String(); strings.Count(text, "AMQP: no connection") != 1 || strings.Count(text, "AMQP: connected again") != 1 || s.LogsOutage() {
		t.Errorf("want a line at each end:\n%s", text)
	}
}
