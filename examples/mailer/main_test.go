package main

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/contracttest"
	"github.com/chassi-go/chassi/internal/rabbittest"
	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lines passes on what is written.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

// A plain client of RabbitMQ publishes JSON: mail is sent, and mail without a recipient
// becomes a dead letter.
func TestMailFromAPlainClient(t *testing.T) {
	t.Parallel()
	v := rabbittest.New(t, map[string]rabbittest.Rights{"mailer": rabbittest.All})
	sent := make(lines, 10)
	app, err := newApp("", v.URL("mailer"), sent, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- app.Run(ctx) }()
	select {
	case <-app.Started():
	case err := <-result:
		t.Fatalf("the app did not start: %v", err)
	}
	conn, err := amqp.Dial(v.URL("mailer"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{`{"text":"nobody"}`, `{"to":"ada@example.org","text":"Hello"}`} {
		if err := ch.PublishWithContext(t.Context(), "mail", "mail", true, false, amqp.Publishing{Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	if line := <-sent; line != "to ada@example.org: Hello\n" {
		t.Error(line)
	}
	dead, err := ch.Consume("mail.dead", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if m := <-dead; m.Headers["Error-Reason"] != "no_recipient" || m.Headers["Attempts"] != "1" || string(m.Body) != `{"text":"nobody"}` {
		t.Errorf("%v %s", m.Headers, m.Body)
	}
	stop()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestNoBroker(t *testing.T) {
	t.Parallel()
	if _, err := newApp("", "", nil, slog.Default()); chassi.ErrorOf(err).Code != chassi.InvalidArgument || !strings.Contains(err.Error(), "-amqp") {
		t.Error(err)
	}
}

func TestContracts(t *testing.T) {
	t.Parallel()
	contracttest.Write(t, "mailer", new(Mailer).Endpoints())
}
