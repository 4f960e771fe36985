package amqpapi_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/rabbittest"
	"github.com/chassi-go/chassi/transport/amqpapi"
	"github.com/chassi-go/chassi/transport/transporttest"
	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// rabbitURL returns the URL of the server at CHASSI_TEST_AMQP.
func rabbitURL(t testing.TB) string { return rabbittest.URL(t) }

// prefix is a word of the test's own; the queues and exchanges of the services and work
// queues behind it are deleted with the test.
func prefix(t testing.TB, url string, queues ...string) string {
	t.Helper()
	p := "test" + rand.Text()
	t.Cleanup(func() {
		conn, err := amqp.Dial(url)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		for _, name := range queues {
			name = p + "." + name
			for _, remove := range []func(*amqp.Channel) error{
				func(ch *amqp.Channel) error { _, err := ch.QueueDelete(name, false, false, false); return err },
				func(ch *amqp.Channel) error {
					_, err := ch.QueueDelete(name+".requests", false, false, false)
					return err
				},
				func(ch *amqp.Channel) error { return ch.ExchangeDelete(name, false, false) },
				func(ch *amqp.Channel) error { return ch.ExchangeDelete(name+".moves", false, false) },
			} {
				ch, err := conn.Channel()
				if err == nil {
					err = remove(ch)
				}
				if err != nil && !strings.Contains(err.Error(), "NOT_FOUND") {
					t.Error(err)
				}
			}
		}
	})
	return p
}

func TestConformance(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	limited := sync.OnceValue(func() string { // of all that wants a broker with a limit
		return rabbittest.NewNode(t, "max_message_size = "+strconv.Itoa(1<<20)).URL()
	})
	transporttest.Run(t, transporttest.Transport{Strict: "json", Start: func(t *testing.T, o transporttest.Options, services ...*chassi.Service) transporttest.Instance {
		url, p := url, prefix(t, url, services[0].Name())
		if o.MaxResponseBytes > 0 {
			url = limited()
			o.MaxMessageBytes *= 16
		}
		s := start(t, amqpapi.Config{URL: url, Prefix: p, MaxMessageBytes: o.MaxMessageBytes, MaxConcurrent: o.MaxConcurrent, MaxConcurrentPerClient: o.MaxConcurrent}, o.Middleware, services...)
		send := func(contentType string) func(context.Context, *chassi.Endpoint, []byte) error {
			return func(ctx context.Context, e *chassi.Endpoint, payload []byte) error {
				return rawCall(ctx, url, p, e, contentType, payload)
			}
		}
		return transporttest.Instance{
			Caller: dial(t, amqpapi.ClientConfig{URL: url, Prefix: p}), Server: s,
			Send: map[string]func(context.Context, *chassi.Endpoint, []byte) error{"json": send("application/json"), "protobuf": send("application/protobuf")},
		}
	}})
}

// rawCall calls as a client that knows nothing of ours: with a queue of its own
// for the response.
func rawCall(ctx context.Context, url, prefix string, e *chassi.Endpoint, contentType string, payload []byte) error {
	conn, err := amqp.Dial(url)
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	q, err := ch.QueueDeclare(prefix+".reply.anonymous."+rand.Text(), false, true, true, false, nil)
	if err != nil {
		return err
	}
	responses, err := ch.Consume(q.Name, "", true, true, false, false, nil)
	if err != nil {
		return err
	}
	err = ch.PublishWithContext(ctx, exchangeOf(prefix, e), strings.ReplaceAll(e.FullName(), "/", "."), true, false,
		amqp.Publishing{ContentType: contentType, CorrelationId: "c1", ReplyTo: q.Name, Body: payload})
	if err != nil {
		return err
	}
	select {
	case d := <-responses:
		if d.CorrelationId != "c1" {
			return amqp.ErrClosed
		}
		return amqpapi.ErrorOf(d)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// exchangeOf is the exchange of the service of e.
func exchangeOf(prefix string, e *chassi.Endpoint) string {
	service, _, _ := strings.Cut(e.FullName(), "/")
	return prefix + "." + service
}

// start serves; the caller stops the server.
func start(t testing.TB, c amqpapi.Config, middleware []chassi.Middleware, services ...*chassi.Service) *amqpapi.Server {
	t.Helper()
	if c.Logger == nil {
		c.Logger = quiet
	}
	s := amqpapi.New(c, middleware...)
	for _, service := range services {
		if err := s.Mount(service); err != nil {
			t.Fatal(err)
		}
	}
	begin(t, s)
	return s
}

func begin(t testing.TB, s chassi.Component) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for { // as an App does
		err := s.Start(ctx)
		if err == nil {
			return
		}
		if chassi.ErrorOf(err).Code != chassi.Unavailable || ctx.Err() != nil {
			t.Fatal(err)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// stop ends s, and fails the test if it cannot.
func stop(t testing.TB, s chassi.Component) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func dial(t testing.TB, c amqpapi.ClientConfig) *amqpapi.Client {
	t.Helper()
	c.Logger = quiet
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	caller, err := amqpapi.Dial(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(caller.Close)
	return caller
}
