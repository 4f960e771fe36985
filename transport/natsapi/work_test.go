package natsapi_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/proxytest"
	"github.com/chassi-go/chassi/internal/worktest"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/natsapi"
)

func consume(t *testing.T, c natsapi.Config, q transport.Queue, d *worktest.Done) *natsapi.Server {
	t.Helper()
	s := natsapi.New(c, middleware.Recover())
	if err := s.Consume(q, worktest.Service(d.Do).Endpoint("Do")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := startSoon(ctx, s); err != nil {
		t.Fatal(err)
	}
	return s
}

func publisher(t *testing.T, c natsapi.ClientConfig, q transport.Queue) func(id string, j *worktest.Job) error {
	t.Helper()
	p, err := dial(t, c).Publisher(q)
	if err != nil {
		t.Fatal(err)
	}
	e := worktest.Service(worktest.Succeed).Endpoint("Do")
	return func(id string, j *worktest.Job) error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		return p.Publish(ctx, e, id, j)
	}
}

func TestWorkEmbedded(t *testing.T) {
	t.Parallel()
	b := startEmbedded(t, t.TempDir())
	worktest.Run(t, workBroker(natsapi.Config{Broker: b}, natsapi.ClientConfig{URL: b.URL(), Options: b.WorkOptions()}))
}

func TestWorkExternal(t *testing.T) {
	t.Parallel()
	url := jetStream(t)
	b := workBroker(natsapi.Config{URL: url}, natsapi.ClientConfig{URL: url})
	b.Proxy = func(t *testing.T) (string, worktest.Proxy) {
		proxy := proxytest.New(t, strings.TrimPrefix(url, "nats://"))
		return proxy.Addr, proxy
	}
	worktest.Run(t, b)
}

// jetStream runs a NATS server that anybody may use for anything, and returns its URL.
func jetStream(t *testing.T) string {
	t.Helper()
	s, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the NATS server does not listen")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s.ClientURL()
}

// workBroker is a NATS server for the suite of work queues.
func workBroker(c natsapi.Config, cc natsapi.ClientConfig) worktest.Broker {
	return worktest.Broker{
		MaxBytes: 1 << 20, Dedupes: true,
		Server: func(_ *testing.T, o worktest.Options) worktest.Server {
			c := c
			c.Prefix, c.MaxConcurrent, c.Logger = o.Prefix, o.MaxConcurrent, quiet
			if c.MaxMessageBytes = 2 << 20; strings.HasSuffix(o.Prefix, "toolarge") {
				c.MaxMessageBytes = worktest.MaxMessageBytes
			}
			if o.Addr != "" {
				c.URL = "nats://" + o.Addr
			}
			return natsapi.New(c, middleware.Recover())
		},
		Publisher: func(t *testing.T, o worktest.Options, q transport.Queue, middleware ...chassi.Middleware) worktest.Publisher {
			t.Helper()
			cc := cc
			cc.Prefix = o.Prefix
			p, err := dial(t, cc).Publisher(q, middleware...)
			if err != nil {
				t.Fatal(err)
			}
			return p
		},
		Produce: func(t *testing.T, prefix, queue string, m worktest.Produced) {
			t.Helper()
			out := &nats.Msg{Subject: prefix + ".work." + queue, Data: []byte(m.Body)}
			if m.ID != "" || m.Headers != nil {
				out.Header = nats.Header{"Nats-Msg-Id": {m.ID}}
			}
			for key, value := range m.Headers {
				out.Header.Set(key, value)
			}
			if _, err := streams(t, cc.URL, cc.Options...).PublishMsg(t.Context(), out); err != nil {
				t.Fatal(err)
			}
		},
		DeadLetters: func(t *testing.T, prefix, queue string, n int) []worktest.Letter {
			t.Helper()
			return deadLetters(t, streams(t, cc.URL, cc.Options...), prefix+"="+queue+"_dead", n)
		},
		Left: func(t *testing.T, prefix, queue string) int {
			t.Helper()
			stream, err := streams(t, cc.URL, cc.Options...).Stream(t.Context(), prefix+"="+queue)
			if err != nil {
				t.Fatal(err)
			}
			return int(stream.CachedInfo().State.Msgs)
		},
	}
}

// deadLetters waits for n messages of a stream.
func deadLetters(t *testing.T, js jetstream.JetStream, stream string, n int) (letters []worktest.Letter) {
	t.Helper()
	consumer, err := js.OrderedConsumer(t.Context(), stream, jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		m, err := consumer.Next(jetstream.FetchMaxWait(60 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		l := worktest.Letter{ID: m.Headers().Get("Nats-Msg-Id"), Body: string(m.Data()), Headers: make(map[string]string)}
		for key := range m.Headers() {
			l.Headers[key] = m.Headers().Get(key)
		}
		letters = append(letters, l)
	}
	return letters
}

// A server in the process without a folder has no work queues: the start says so, and is
// not tried again.
func TestWorkWithoutJetStream(t *testing.T) {
	t.Parallel()
	b := startEmbedded(t, "")
	s := natsapi.New(natsapi.Config{Broker: b, Logger: quiet})
	if err := s.Consume(transport.Queue{Name: "jobs"}, worktest.Service(worktest.Succeed).Endpoint("Do")); err != nil {
		t.Fatal(err)
	}
	err := s.Start(t.Context())
	if err == nil || chassi.ErrorOf(err).Code == chassi.Unavailable || !strings.Contains(err.Error(), "JetStream") || !strings.Contains(err.Error(), "nats.embedded.store_dir") {
		t.Errorf("%v, want a lasting error that names nats.embedded.store_dir", err)
	}
	p, err := dial(t, natsapi.ClientConfig{URL: b.URL(), Options: b.WorkOptions()}).Publisher(transport.Queue{Name: "jobs"})
	if err != nil {
		t.Fatal(err)
	}
	err = p.Publish(t.Context(), worktest.Service(worktest.Succeed).Endpoint("Do"), "1", &worktest.Job{})
	if chassi.ErrorOf(err).Code != chassi.Unavailable || !strings.Contains(err.Error(), "JetStream, which stores work queues, is disabled") {
		t.Errorf("%v", err)
	}
}

// serveChild is a NATS server to be killed.
func serveChild() {
	host, port, _ := net.SplitHostPort(os.Getenv("CHASSI_TEST_NATS_CHILD"))
	number, _ := strconv.Atoi(port)
	s, err := natsserver.NewServer(&natsserver.Options{Host: host, Port: number, NoSigs: true, JetStream: true, StoreDir: os.Getenv("CHASSI_TEST_NATS_STORE")})
	if err != nil {
		panic(err)
	}
	s.Start()
	s.WaitForShutdown()
}

func startChild(t *testing.T, addr, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CHASSI_TEST_NATS_CHILD="+addr, "CHASSI_TEST_NATS_STORE="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
}

// Fault 34 for the broker: it is killed with messages on the way and comes back.
// None that was acknowledged is lost, duplicates are bounded by what was in
// flight, and with the ID each is done once. CHASSI_SOAK=1 sends 10,000.
func TestBrokerKilled(t *testing.T) {
	t.Parallel()
	messages, kills := 2000, 1
	if os.Getenv("CHASSI_SOAK") != "" {
		messages, kills = 10_000, 3
	}
	addr, dir := freePort(t), t.TempDir()
	broker := startChild(t, addr, dir)
	defer func() { kill(t, broker) }()
	q, d := transport.Queue{Name: "jobs", Delay: 10 * time.Millisecond, Timeout: time.Second}, worktest.NewDone()
	const concurrent = 32
	s := consume(t, natsapi.Config{URL: "nats://" + addr, MaxConcurrent: concurrent, Logger: quiet}, q, d)
	publish := publisher(t, natsapi.ClientConfig{URL: "nats://" + addr}, q)

	acknowledged := make(chan string, messages)
	var senders sync.WaitGroup
	for sender := range 4 {
		senders.Go(func() {
			for i := sender; i < messages; i += 4 {
				id := strconv.Itoa(i)
				for publish(id, &worktest.Job{Number: i}) != nil { // under the same ID, until it is stored
				}
				acknowledged <- id
			}
		})
	}
	for round := range kills {
		d.Await(t, messages/(kills+2))
		kill(t, broker)
		broker = startChild(t, addr, dir)
		for len(d.Event) > 0 {
			<-d.Event
		}
		back := listening(t, addr)
		<-d.Event
		took := time.Since(back)
		t.Logf("kill %d: work goes on %v after the broker listens again", round+1, took.Round(time.Millisecond))
		if took > 5*time.Second {
			t.Errorf("work goes on only after %v", took)
		}
	}
	senders.Wait()
	close(acknowledged)
	deadline := time.After(60 * time.Second)
	for {
		handled, duplicates := d.Count()
		if handled == messages {
			t.Logf("%d messages, %d kills: all done, %d duplicates of at most %d", messages, kills, duplicates, kills*concurrent)
			break
		}
		select {
		case <-d.Event:
		case <-deadline:
			t.Fatalf("%d of %d messages were done", handled, messages)
		}
	}
	stop(t, s)
	d.Lock()
	defer d.Unlock()
	for id := range acknowledged {
		if d.Finished[id] != 1 {
			t.Errorf("message %s was acknowledged and done %d times", id, d.Finished[id])
		}
	}
	duplicates := 0
	for _, n := range d.Times {
		duplicates += n - 1
	}
	if duplicates > kills*concurrent {
		t.Errorf("%d duplicates, want at most %d", duplicates, kills*concurrent)
	}
}

// listening returns when addr takes connections.
func listening(t *testing.T, addr string) time.Time {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return time.Now()
		}
	}
	t.Fatalf("nothing listens on %s", addr)
	return time.Time{}
}

func TestQueueNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "a.b", "a b", ">", strings.Repeat("a", 101), "a_dead"} {
		if err := natsapi.New(natsapi.Config{}).Consume(transport.Queue{Name: name}, worktest.Service(worktest.Succeed).Endpoint("Do")); err == nil || !strings.Contains(err.Error(), "queue name") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// A start that fails after requests and messages have arrived, and another one while these are
// still being worked on, harm neither.
func TestCallsOutliveFailedStart(t *testing.T) {
	t.Parallel()
	url := jetStream(t)
	js := streams(t, url)
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "other", Subjects: []string{"work.second"}})
	if err != nil {
		t.Fatal(err)
	}
	entered, leave := make(chan string, 1000), make(chan struct{})
	blocks := func(name string) *chassi.Service {
		return chassi.NewService(name, chassi.NewEndpoint("Do", func(context.Context, *worktest.Job) (*worktest.Nothing, error) {
			entered <- name
			<-leave
			return &worktest.Nothing{}, nil
		}, chassi.Public))
	}
	calls, work := blocks("test.v1.Calls"), blocks("test.v1.Work")
	var log journal
	s := natsapi.New(natsapi.Config{URL: url, MaxConcurrent: 4, Logger: log.logger()}, middleware.Recover())
	err = errors.Join(s.Mount(calls), s.Consume(transport.Queue{Name: "first"}, work.Endpoint("Do")), s.Consume(transport.Queue{Name: "second"}, work.Endpoint("Do")))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	replies, err := conn.SubscribeSync(conn.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	publish := publisher(t, natsapi.ClientConfig{URL: url}, transport.Queue{Name: "first"})
	if err := publish("1", &worktest.Job{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stopAsking := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() {
		for {
			select {
			case <-stopAsking:
				return
			case <-ctx.Done():
				return
			default:
				_ = conn.PublishRequest("test.v1.Calls.Do", replies.Subject, []byte("{}"))
				_ = conn.Flush()
			}
		}
	})
	for begun := make(map[string]bool); len(begun) < 2; {
		if err := s.Start(ctx); chassi.ErrorOf(err).Code != chassi.Unavailable || ctx.Err() != nil {
			t.Fatal(err)
		}
		for len(entered) > 0 {
			begun[<-entered] = true
		}
	}
	close(stopAsking)
	asking.Wait()
	close(leave)
	if err := js.DeleteStream(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	if err := startSoon(ctx, s); err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	for { // until the server answers, for which no place was lost
		answer, err := conn.RequestWithContext(ctx, "test.v1.Calls.Do", []byte("{}"))
		if err == nil && answer.Header.Get("Nats-Service-Error-Code") == "" {
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	for s.Stats().InFlight > 0 { // the calls that had begun have ended
		if ctx.Err() != nil {
			t.Fatalf("%d in flight", s.Stats().InFlight)
		}
	}
	if text := log.String(); strings.Contains(text, "panic") {
		t.Error(text)
	}
}
