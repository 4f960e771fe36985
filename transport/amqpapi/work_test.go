package amqpapi_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/broker"
	"github.com/chassi-go/chassi/internal/proxytest"
	"github.com/chassi-go/chassi/internal/rabbittest"
	"github.com/chassi-go/chassi/internal/worktest"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/amqpapi"
)

func consume(t *testing.T, c amqpapi.Config, q transport.Queue, d *worktest.Done) *amqpapi.Server {
	t.Helper()
	c.Logger = quiet
	s := amqpapi.New(c, middleware.Recover())
	if err := s.Consume(q, worktest.Service(d.Do).Endpoint("Do")); err != nil {
		t.Fatal(err)
	}
	begin(t, s)
	return s
}

func publisher(t *testing.T, c amqpapi.ClientConfig, q transport.Queue) func(id string, j *worktest.Job) error {
	t.Helper()
	p, err := dial(t, c).Publisher(q)
	if err != nil {
		t.Fatal(err)
	}
	e := worktest.Service(worktest.Succeed).Endpoint("Do")
	return func(id string, j *worktest.Job) error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return p.Publish(ctx, e, id, j)
	}
}

// The suite runs on a broker whose max_message_size is 1 MiB.
func TestWork(t *testing.T) {
	t.Parallel()
	node := rabbittest.NewNode(t, "max_message_size = 1048576")
	dialed := func(t *testing.T) *amqp.Channel {
		t.Helper()
		conn, err := amqp.Dial(node.URL())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return open(t, conn)
	}
	worktest.Run(t, worktest.Broker{
		MaxBytes: 1 << 20,
		Server: func(_ *testing.T, o worktest.Options) worktest.Server {
			c := amqpapi.Config{URL: node.URL(), Prefix: o.Prefix, MaxConcurrent: o.MaxConcurrent, MaxMessageBytes: 2 << 20, Logger: quiet}
			if strings.HasSuffix(o.Prefix, "toolarge") {
				c.MaxMessageBytes = worktest.MaxMessageBytes
			}
			if o.Addr != "" {
				c.URL = "amqp://guest:guest@" + o.Addr + "/"
			}
			return amqpapi.New(c, middleware.Recover())
		},
		Publisher: func(t *testing.T, o worktest.Options, q transport.Queue, middleware ...chassi.Middleware) worktest.Publisher {
			t.Helper()
			p, err := dial(t, amqpapi.ClientConfig{URL: node.URL(), Prefix: o.Prefix}).Publisher(q, middleware...)
			if err != nil {
				t.Fatal(err)
			}
			return p
		},
		Produce: func(t *testing.T, prefix, queue string, m worktest.Produced) {
			t.Helper()
			ch, name := dialed(t), prefix+"."+queue
			if err := ch.Confirm(false); err != nil {
				t.Fatal(err)
			}
			out := amqp.Publishing{MessageId: m.ID, DeliveryMode: amqp.Persistent, ContentType: m.Headers[broker.ContentTypeKey], Headers: amqp.Table{"n": int32(7)}, Body: []byte(m.Body)}
			for key, value := range m.Headers {
				if key != broker.ContentTypeKey {
					out.Headers[key] = value
				}
			}
			confirmation, err := ch.PublishWithDeferredConfirmWithContext(t.Context(), name, name, true, false, out)
			if err != nil {
				t.Fatal(err)
			}
			if ok, err := confirmation.WaitContext(t.Context()); !ok || err != nil {
				t.Fatalf("not confirmed: %v", err)
			}
		},
		DeadLetters: func(t *testing.T, prefix, queue string, n int) (letters []worktest.Letter) {
			t.Helper()
			dead, err := dialed(t).Consume(prefix+"."+queue+".dead", "", true, false, false, false, nil)
			if err != nil {
				t.Fatal(err)
			}
			for range n {
				select {
				case m := <-dead:
					l := worktest.Letter{ID: m.MessageId, Body: string(m.Body), Headers: map[string]string{broker.ContentTypeKey: m.ContentType}}
					for key, value := range m.Headers {
						l.Headers[key] = fmt.Sprint(value)
					}
					letters = append(letters, l)
				case <-time.After(60 * time.Second):
					t.Fatalf("%d of %d dead letters", len(letters), n)
				}
			}
			return letters
		},
		Left: func(t *testing.T, prefix, queue string) int {
			t.Helper()
			q, err := dialed(t).QueueDeclarePassive(prefix+"."+queue, true, false, false, false, nil)
			if err != nil {
				t.Fatal(err)
			}
			return q.Messages
		},
		Proxy: func(t *testing.T) (string, worktest.Proxy) {
			proxy := proxytest.New(t, node.Addr)
			return proxy.Addr, proxy
		},
	})
}

// A queue that is deleted under its consumer (basic.cancel) is declared again, and
// calls go on.
func TestQueueDeletedIsDeclaredAgain(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	p := prefix(t, url, "jobs.v1.Jobs")
	s := start(t, amqpapi.Config{URL: url, Prefix: p}, nil, worktest.Service(worktest.Succeed))
	defer stop(t, s)
	c, err := client.New(worktest.Service(worktest.Succeed), dial(t, amqpapi.ClientConfig{URL: url, Prefix: p}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Invoke[worktest.Nothing](t.Context(), c, "Do", &worktest.Job{}); err != nil {
		t.Fatal(err)
	}
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDelete(p+".jobs.v1.Jobs.requests", false, false, false); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		_, err := client.Invoke[worktest.Nothing](t.Context(), c, "Do", &worktest.Job{})
		if err == nil {
			break
		}
		if chassi.ErrorOf(err).Code != chassi.Unavailable || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// A message with too many headers is dead-lettered without a call, and counted as other dead letters are.
func TestMessageWithTooManyHeadersIsCounted(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	p, d := prefix(t, url, "jobs", "jobs.retry", "jobs.dead"), worktest.NewDone()
	s := consume(t, amqpapi.Config{URL: url, Prefix: p}, transport.Queue{Name: "jobs"}, d)
	defer stop(t, s)
	headers := amqp.Table{}
	for i := range amqpapi.MaxHeaders + 1 {
		headers["h"+strconv.Itoa(i)] = "x"
	}
	newRaw(t, url).send(t, p+".jobs", p+".jobs", amqp.Publishing{Headers: headers, Body: []byte("{}")})
	until(t, "the dead letter is counted", func() bool { return s.Stats().DeadLettered[p+".jobs"] == 1 })
	if handled, _ := d.Count(); handled != 0 {
		t.Errorf("%d calls, want none", handled)
	}
}

// Publishing to a missing queue is an error at once.
func TestUnroutable(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	p := prefix(t, url, "jobs.v1.Jobs")
	other := chassi.NewService("other.v1.Other", chassi.NewEndpoint("Do", worktest.Succeed, chassi.Public))
	defer stop(t, start(t, amqpapi.Config{URL: url, Prefix: p}, nil, worktest.Service(worktest.Succeed)))
	c, err := client.New(other, dial(t, amqpapi.ClientConfig{URL: url, Prefix: p}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Invoke[worktest.Nothing](t.Context(), c, "Do", &worktest.Job{})
	if chassi.ErrorOf(err).Code != chassi.Unavailable || !strings.Contains(err.Error(), "no queue is bound") {
		t.Errorf("%v", err)
	}
}

// A broker that is not there is named, without the password in its URL.
func TestStartWithoutBroker(t *testing.T) {
	t.Parallel()
	addr := freePort(t)
	for url, want := range map[string]string{"amqp://me:hunter2@" + addr + "/": addr, "http://me:hunter2@" + addr: "scheme", "amqp://me:hunter2@[": "missing ']' in host"} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		err := amqpapi.New(amqpapi.Config{URL: url, Logger: quiet}).Start(ctx)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Fault 34 for the broker: it is killed with messages on the way and comes back.
// None that was confirmed is lost, duplicates are bounded by what was in flight,
// and with the ID each is done once. CHASSI_SOAK=1 sends 10,000 and kills three
// times.
func TestBrokerKilled(t *testing.T) {
	t.Parallel()
	messages, kills := 2000, 1
	if os.Getenv("CHASSI_SOAK") != "" {
		messages, kills = 10_000, 3
	}
	b := rabbittest.NewNode(t)
	url := b.URL()
	q, d := transport.Queue{Name: "jobs", Delay: 10 * time.Millisecond, MaxAttempts: 10}, worktest.NewDone()
	const concurrent = 32
	s := consume(t, amqpapi.Config{URL: url, MaxConcurrent: concurrent}, q, d)
	publish := publisher(t, amqpapi.ClientConfig{URL: url}, q)

	confirmed := make(chan string, messages)
	var senders sync.WaitGroup
	for sender := range 8 {
		senders.Go(func() {
			for i := sender; i < messages; i += 8 {
				id := strconv.Itoa(i)
				for publish(id, &worktest.Job{Number: i}) != nil { // under the same ID, until it is confirmed
				}
				confirmed <- id
			}
		})
	}
	for round := range kills {
		d.Await(t, messages/(kills+2))
		b.Kill(t)
		for len(d.Event) > 0 {
			<-d.Event
		}
		b.Start(t)
		back := b.Ready(t)
		<-d.Event
		took := time.Since(back)
		t.Logf("kill %d: work goes on %v after the broker takes logins again", round+1, took.Round(time.Millisecond))
		if took > 5*time.Second {
			t.Errorf("work goes on only after %v", took)
		}
	}
	senders.Wait()
	close(confirmed)
	deadline := time.After(60 * time.Second)
	for handled := 0; handled < messages; handled, _ = d.Count() {
		select {
		case <-d.Event:
		case <-deadline:
			t.Fatalf("%d of %d messages were done", handled, messages)
		}
	}
	stop(t, s)
	for id := range confirmed {
		if d.Finished[id] != 1 {
			t.Errorf("message %s was confirmed and done %d times", id, d.Finished[id])
		}
	}
	_, duplicates := d.Count()
	t.Logf("%d messages, %d kills: all done, %d duplicates of at most %d", messages, kills, duplicates, kills*(concurrent+8))
	if duplicates > kills*(concurrent+8) { // what was being worked on, and what was being published
		t.Errorf("%d duplicates, want at most %d", duplicates, kills*(concurrent+8))
	}
}

// A broker that has run out of memory accepts no messages. Calls are refused at
// once instead of hanging, and go on when it has recovered.
func TestBlocked(t *testing.T) {
	t.Parallel()
	b := rabbittest.NewNode(t)
	url := b.URL()
	defer stop(t, start(t, amqpapi.Config{URL: url}, nil, worktest.Service(worktest.Succeed)))
	c, err := client.New(worktest.Service(worktest.Succeed), dial(t, amqpapi.ClientConfig{URL: url}))
	if err != nil {
		t.Fatal(err)
	}
	call := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := client.Invoke[worktest.Nothing](ctx, c, "Do", &worktest.Job{})
		return err
	}
	if err := call(); err != nil {
		t.Fatal(err)
	}
	b.Control(t, "set_vm_memory_high_watermark", "0.00001")
	until(t, "a call is refused because the broker accepts no messages", func() bool {
		err := call()
		return err != nil && strings.Contains(err.Error(), "currently accepts no messages") && chassi.ErrorOf(err).Code == chassi.Unavailable
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s := amqpapi.New(amqpapi.Config{URL: url, Logger: quiet})
	if err := s.Start(ctx); chassi.ErrorOf(err).Code != chassi.Unavailable || !strings.Contains(err.Error(), "currently accepts no messages: ") {
		t.Errorf("a server starts meanwhile: %v", err)
	}
	b.Control(t, "set_vm_memory_high_watermark", "0.9")
	until(t, "calls go on", func() bool { return call() == nil })
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(40 * time.Second); !condition(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within 40 s: %s", what)
		}
	}
}
