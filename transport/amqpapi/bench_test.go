package amqpapi_test

import (
	"context"
	"encoding/json"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/calltest"
	"github.com/chassi-go/chassi/internal/worktest"
	"github.com/chassi-go/chassi/transport/amqpapi"
	amqp "github.com/rabbitmq/amqp091-go"
)

// BenchmarkServer holds the server, bare and with all middleware on, against a
// consumer of amqp091-go that reads and writes the same JSON and acknowledges the
// same way, with the same requests, 32 at once.
func BenchmarkServer(b *testing.B) {
	defer runtime.KeepAlive(make([]byte, 32<<20)) // the heap floor of an App, for all of them
	url := rabbitURL(b)
	do := func(_ context.Context, j *worktest.Job) (*worktest.Job, error) {
		return &worktest.Job{Number: j.Number + 1}, nil
	}
	conn, err := amqp.Dial(url)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	keys := map[string][2]string{"amqp091": {"", serveBare(b, conn)}}
	for name, around := range map[string][]chassi.Middleware{"chassi": nil, "everything": calltest.Everything(b)} {
		p := prefix(b, url, "jobs.v1.Jobs")
		s := start(b, amqpapi.Config{URL: url, Prefix: p}, around, chassi.NewService("jobs.v1.Jobs", chassi.NewEndpoint("Do", do, chassi.Public)))
		defer stop(b, s)
		keys[name] = [2]string{p + ".jobs.v1.Jobs", "jobs.v1.Jobs.Do"}
	}
	for name, key := range keys {
		b.Run(name, func(b *testing.B) { drive(b, url, key[0], key[1], 32) })
	}
}

// serveBare consumes by hand, with the same prefetch and as many goroutines.
func serveBare(b *testing.B, conn *amqp.Connection) (queue string) {
	b.Helper()
	ch, err := conn.Channel()
	if err != nil {
		b.Fatal(err)
	}
	q, err := ch.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		b.Fatal(err)
	}
	if err := ch.Qos(64, 0, false); err != nil {
		b.Fatal(err)
	}
	deliveries, err := ch.Consume(q.Name, "", false, false, false, false, nil)
	if err != nil {
		b.Fatal(err)
	}
	for range 64 {
		go func() {
			for d := range deliveries {
				var j worktest.Job
				if err := calltest.DecodeJSON(d.Body, &j); err != nil {
					continue
				}
				j.Number++
				body, _ := json.Marshal(&j)
				_ = ch.PublishWithContext(context.Background(), "", d.ReplyTo, false, false, amqp.Publishing{CorrelationId: d.CorrelationId, ContentType: "application/json", Body: body})
				_ = d.Ack(false)
			}
		}()
	}
	return q.Name
}

func drive(b *testing.B, url, exchange, key string, callers int) {
	b.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		b.Fatal(err)
	}
	responses, err := ch.Consume("amq.rabbitmq.reply-to", "", true, false, false, false, nil)
	if err != nil {
		b.Fatal(err)
	}
	slots := make(chan struct{}, callers)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range b.N {
			<-responses
			<-slots
		}
	})
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		slots <- struct{}{}
		err := ch.PublishWithContext(b.Context(), exchange, key, true, false, amqp.Publishing{
			CorrelationId: strconv.Itoa(i), ReplyTo: "amq.rabbitmq.reply-to", ContentType: "application/json", Body: []byte(`{"number":41,"fail":""}`),
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	wg.Wait()
}
