package standard_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/proxytest"
	"github.com/chassi-go/chassi/internal/rabbittest"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/amqpserver"
	"github.com/chassi-go/chassi/standard/natsembedded"
	"github.com/chassi-go/chassi/transport"
)

type mail struct {
	To string `json:"to"`
}

// A message that a program publishes calls the endpoint that consumes its queue: over NATS, in
// the process or not, over RabbitMQ, which is away at the start, and over both.
func TestWorkQueue(t *testing.T) {
	t.Parallel()
	for name, brokers := range map[string]struct {
		nats func(t *testing.T) string
		amqp bool
	}{
		"embedded": {func(*testing.T) string { return "embedded" }, false},
		"external": {jetStream, false},
		"amqp":     {func(*testing.T) string { return "off" }, true},
		"both":     {jetStream, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := defaults(t, "--nats.embedded.store_dir="+t.TempDir(), "--nats.prefix="+name)
			c.NATS.URL = brokers.nats(t)
			var rabbit *proxytest.Proxy
			if brokers.amqp {
				c.AMQP.URL, rabbit = rabbitMQ(t)
			}
			app, err := standard.New(t.Context(), "test", "1", c.Config, standard.Options{Log: new(log)})
			if err != nil {
				t.Fatal(err)
			}
			sent := make(chan string, 1)
			send := chassi.NewService("mail.v1.Mail", chassi.NewEndpoint("Send", func(_ context.Context, m *mail) (*struct{}, error) {
				sent <- m.To
				return &struct{}{}, nil
			}, chassi.Public)).Endpoint("Send")
			queue := transport.Queue{Name: "mail"}
			embedded := natsembedded.Add(app, c.NATS)
			amqpserver.Add(app, c.AMQP)
			publishers := make(map[string]*standard.Publisher)
			if c.NATS.URL != "off" {
				publishers["nats"] = natsembedded.AddPublisher(app, c.NATS, embedded, queue)
			}
			if brokers.amqp {
				publishers["amqp"] = amqpserver.AddPublisher(app, c.AMQP, queue)
			}
			app.Consume(queue, send)
			ctx, stop := context.WithCancel(t.Context())
			result := make(chan error, 1)
			for broker, p := range publishers {
				if err := p.Publish(t.Context(), send, "1", &mail{broker}); chassi.ErrorOf(err).Code != chassi.Unavailable {
					t.Errorf("%s, before the start: %v", broker, err)
				}
			}
			go func() { result <- app.Run(ctx) }()
			select {
			case <-app.Started():
			case err := <-result:
				t.Fatalf("the app did not start: %v", err)
			}
			if rabbit != nil {
				if err := publishers["amqp"].Publish(t.Context(), send, "1", &mail{"amqp"}); chassi.ErrorOf(err).Code != chassi.Unavailable {
					t.Errorf("while RabbitMQ is away: %v", err)
				}
				rabbit.Open()
			}
			for broker, p := range publishers {
				await(t, "the message is published over "+broker, func() bool { return p.Publish(t.Context(), send, "1", &mail{broker}) == nil })
				select {
				case to := <-sent:
					if to != broker {
						t.Errorf("%s: sent to %q", broker, to)
					}
				case <-time.After(time.Minute):
					t.Errorf("%s: the message was not consumed", broker)
				}
			}
			stop()
			if err := <-result; err != nil {
				t.Error(err)
			}
			for broker, p := range publishers {
				if err := p.Publish(t.Context(), send, "1", &mail{broker}); chassi.ErrorOf(err).Code != chassi.Unavailable {
					t.Errorf("%s, after the end: %v", broker, err)
				}
			}
		})
	}
}

// rabbitMQ returns the URL of a virtual host of the test's own, through a proxy that is closed.
func rabbitMQ(t *testing.T) (string, *proxytest.Proxy) {
	t.Helper()
	u, err := url.Parse(rabbittest.New(t, map[string]rabbittest.Rights{"program": rabbittest.All}).URL("program"))
	if err != nil {
		t.Fatal(err)
	}
	p := proxytest.New(t, u.Host)
	u.Host = p.Addr
	return u.String(), p
}

// jetStream runs a NATS server and returns its URL.
func jetStream(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the NATS server does not listen")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s.ClientURL()
}

// A work queue that nothing consumes, or that nothing can be published to, ends the program
// before anything listens.
func TestWorkQueueWithoutBroker(t *testing.T) {
	t.Parallel()
	c := defaults(t)
	c.NATS.URL = "off"
	text := new(log)
	app, err := standard.New(t.Context(), "test", "1", c.Config, standard.Options{Log: text})
	if err != nil {
		t.Fatal(err)
	}
	queue := transport.Queue{Name: "mail"}
	natsembedded.AddPublisher(app, c.NATS, natsembedded.Add(app, c.NATS), queue)
	amqpserver.AddPublisher(app, c.AMQP, queue)
	app.Consume(queue, test().Endpoint("Greet"))
	err = app.Run(t.Context())
	for _, want := range []string{`no transport consumes the work queue "mail": add a server for NATS or AMQP, and set nats.url or amqp.url`, `the work queue "mail" requires NATS: set nats.url`, `the work queue "mail" requires RabbitMQ: set amqp.url`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in: %v", want, err)
		}
	}
	if strings.Contains(text.String(), `"listening"`) || errors.Is(err, context.Canceled) {
		t.Errorf("something listened:\n%s", text)
	}
}
