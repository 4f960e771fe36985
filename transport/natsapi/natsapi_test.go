package natsapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/worktest"
	"github.com/chassi-go/chassi/transport/natsapi"
	"github.com/chassi-go/chassi/transport/natsapi/embedded"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/nats-io/nkeys"
)

func connect(t testing.TB, url string) *nats.Conn {
	t.Helper()
	c, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// What "nats micro ls", "info" and "stats" ask is answered, by instance and for
// all, with true figures.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	broker := startEmbedded(t, "")
	refuse := chassi.NewError(chassi.NotFound, "no_such_job", "No such job")
	s := start(t, natsapi.Config{Options: broker.Options(), Version: "v1.2.3-rc.1", Logger: quiet}, nil, worktest.Service(func(_ context.Context, j *worktest.Job) (*worktest.Nothing, error) {
		if j.Number == 2 {
			return nil, refuse
		}
		return &worktest.Nothing{}, nil
	}))
	defer stop(t, s)
	conn := connect(t, broker.URL())
	for _, body := range []string{`{"number":1}`, `{"number":2}`, `{"number":3}`} {
		answer, err := conn.Request("jobs.v1.Jobs.Do", []byte(body), 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if wrong := body == `{"number":2}`; wrong != (answer.Header.Get(micro.ErrorCodeHeader) == "5") || wrong != (answer.Header.Get(micro.ErrorHeader) == "No such job") {
			t.Errorf("%s: %v %s", body, answer.Header, answer.Data)
		}
	}
	var info micro.Info
	ask(t, conn, "$SRV.INFO.jobs_v1_Jobs", &info)
	if info.Version != "1.2.3" || info.Type != micro.InfoResponseType || len(info.Endpoints) != 1 || info.Endpoints[0].Subject != "jobs.v1.Jobs.Do" || info.Endpoints[0].QueueGroup != "q" {
		t.Errorf("%+v", info)
	}
	var ping micro.Ping
	ask(t, conn, "$SRV.PING", &ping)
	if ping.ID != info.ID || ping.Name != "jobs_v1_Jobs" || ping.Metadata["chassi.service"] != "jobs.v1.Jobs" {
		t.Errorf("%+v", ping)
	}
	var stats micro.Stats
	ask(t, conn, "$SRV.STATS.jobs_v1_Jobs."+info.ID, &stats)
	e := stats.Endpoints[0]
	if e.NumRequests != 3 || e.NumErrors != 1 || e.LastError != "5:No such job" || e.ProcessingTime <= 0 || e.AverageProcessingTime != e.ProcessingTime/3 || stats.Started.IsZero() {
		t.Errorf("%+v", e)
	}
}

func ask(t *testing.T, conn *nats.Conn, subject string, into any) {
	t.Helper()
	answer, err := conn.Request(subject, nil, 10*time.Second)
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	if err := json.Unmarshal(answer.Data, into); err != nil {
		t.Fatal(err)
	}
}

// When all places are taken and the queue is full, a call is refused at once, and
// told when to come again.
func TestOverloadIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	broker := startEmbedded(t, "")
	entered, leave := make(chan struct{}, 10), make(chan struct{})
	def := worktest.Service(func(context.Context, *worktest.Job) (*worktest.Nothing, error) {
		entered <- struct{}{}
		<-leave
		return &worktest.Nothing{}, nil
	})
	s := start(t, natsapi.Config{Options: broker.Options(), MaxConcurrent: 1, MaxQueued: 1, Logger: quiet}, nil, def)
	c, err := client.New(def, dial(t, natsapi.ClientConfig{URL: broker.URL()}))
	if err != nil {
		t.Fatal(err)
	}
	results := make(chan error, 5)
	call := func() {
		_, err := client.Invoke[worktest.Nothing](context.Background(), c, "Do", &worktest.Job{})
		results <- err
	}
	go call()
	<-entered // it holds the only place
	for range 4 {
		go call()
	}
	for range 3 { // of four, one waits
		e := chassi.ErrorOf(<-results)
		if e == nil || e.Code != chassi.Unavailable || e.Reason != "overloaded" || e.RetryAfter != time.Second {
			t.Errorf("%+v", e)
		}
	}
	close(leave)
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	stop(t, s)
}

// Strangers may call; they may not listen in, pretend to be the service, or touch
// the durable work.
func TestEmbeddedServerTrustsNobody(t *testing.T) {
	t.Parallel()
	broker := startEmbedded(t, t.TempDir())
	s := start(t, natsapi.Config{Options: broker.Options(), Logger: quiet}, nil, worktest.Service(func(context.Context, *worktest.Job) (*worktest.Nothing, error) { return &worktest.Nothing{}, nil }))
	defer stop(t, s)
	var mu sync.Mutex
	refused := make(map[string]bool)
	conn, err := nats.Connect(broker.URL(), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		mu.Lock()
		defer mu.Unlock()
		refused[err.Error()] = true
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, subject := range []string{">", "jobs.v1.Jobs.Do", "$SRV.>", "*.>"} {
		if _, err := conn.Subscribe(subject, func(*nats.Msg) { t.Error("a stranger heard a message") }); err != nil {
			t.Fatal(err)
		}
	}
	for _, subject := range []string{"$JS.API.INFO", "work.jobs", "$SYS.REQ.SERVER.PING"} {
		if _, err := conn.Request(subject, nil, 100*time.Millisecond); err == nil {
			t.Errorf("%s was answered", subject)
		}
	}
	if answer, err := conn.Request("jobs.v1.Jobs.Do", []byte("{}"), 10*time.Second); err != nil || answer.Header.Get(micro.ErrorHeader) != "" {
		t.Errorf("a call: %v %v", answer, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(refused) != 7 {
		t.Errorf("%d of 7 were refused: %v", len(refused), refused)
	}
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	if c, err := nats.Connect(broker.URL(), nats.Nkey(public, pair.Sign)); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("another key: %v", err)
		c.Close()
	}
}

// A broker that is not there is named, without the password in its URL.
func TestStartWithoutBroker(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	addr := freePort(t)
	err := natsapi.New(natsapi.Config{URL: "nats://me:hunter2@" + addr, Logger: quiet}).Start(ctx)
	if err == nil || !strings.Contains(err.Error(), addr) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}

// A service that nobody serves is Unavailable, at once.
func TestNobodyServes(t *testing.T) {
	t.Parallel()
	broker := startEmbedded(t, "")
	c, err := client.New(worktest.Service(worktest.Succeed), dial(t, natsapi.ClientConfig{URL: broker.URL()}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Invoke[worktest.Nothing](t.Context(), c, "Do", &worktest.Job{})
	if e := chassi.ErrorOf(err); e.Code != chassi.Unavailable || !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("%v", err)
	}
}

// A client that is opened while no broker is there fails at once, and works by
// itself when the broker comes; when it is gone again, nothing waits for it.
func TestOpenWaitsForNobody(t *testing.T) {
	t.Parallel()
	addr := freePort(t)
	caller, err := natsapi.Open(natsapi.ClientConfig{URL: "nats://" + addr, Timeout: time.Second, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(caller.Close)
	def := worktest.Service(worktest.Succeed)
	c, err := client.New(def, caller)
	if err != nil {
		t.Fatal(err)
	}
	call := func() error {
		_, err := client.Invoke[worktest.Nothing](t.Context(), c, "Do", &worktest.Job{})
		return err
	}
	refused := func(when string) {
		t.Helper()
		began := time.Now()
		if err := call(); chassi.ErrorOf(err).Code != chassi.Unavailable || time.Since(began) > 500*time.Millisecond {
			t.Errorf("%s: %v after %v", when, err, time.Since(began))
		}
	}
	refused("before")
	for range 2 {
		broker := embedded.New(embedded.Config{Addr: addr, Logger: quiet})
		if err := broker.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		s := start(t, natsapi.Config{Options: broker.Options(), Logger: quiet}, nil, def)
		eventually(t, "a call succeeds", func() bool { return call() == nil })
		stop(t, s)
		stop(t, broker)
		eventually(t, "the client knows", func() bool { return errors.Is(call(), nats.ErrDisconnected) })
		refused("after")
	}
	if _, err := natsapi.Open(natsapi.ClientConfig{URL: "nats://me:hunter2@" + addr + ":x", Logger: quiet}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick, limit := time.NewTicker(10*time.Millisecond), time.After(20*time.Second)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}
