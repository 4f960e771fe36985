package natsapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/worktest"
	"github.com/chassi-go/chassi/transport/natsapi"
	"github.com/chassi-go/chassi/transport/natsapi/embedded"
)

// connect makes a connection of the plain client library.
func connect(t testing.TB, c natsapi.ClientConfig) *nats.Conn {
	t.Helper()
	var options []nats.Option
	if c.NkeyFile != "" {
		key, err := nats.NkeyOptionFromSeed(c.NkeyFile)
		if err != nil {
			t.Fatal(err)
		}
		options = append(options, key)
	}
	conn, err := nats.Connect(c.URL, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// What "nats micro ls", "info" and "stats" ask is answered, by instance and for
// all, with true figures.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	broker := startEmbedded(t, "")
	refuse := chassi.NewError(chassi.NotFound, "no_such_job", "No such job")
	s := start(t, natsapi.Config{Broker: broker, Version: "v1.2.3-rc.1", Logger: quiet}, nil, worktest.Service(func(_ context.Context, j *worktest.Job) (*worktest.Nothing, error) {
		if j.Number == 2 {
			return nil, refuse
		}
		return &worktest.Nothing{}, nil
	}))
	defer stop(t, s)
	conn := connect(t, broker.client(t))
	for _, body := range []string{`{"number":1}`, `{"number":2}`, `{"number":3}`} {
		response, err := conn.Request("jobs.v1.Jobs.Do", []byte(body), 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if wrong := body == `{"number":2}`; wrong != (response.Header.Get(micro.ErrorCodeHeader) == "5") || wrong != (response.Header.Get(micro.ErrorHeader) == "No such job") {
			t.Errorf("%s: %v %s", body, response.Header, response.Data)
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
	if e.NumRequests != 3 || e.NumErrors != 1 || e.LastError != "5:no_such_job" || e.ProcessingTime <= 0 || e.AverageProcessingTime != e.ProcessingTime/3 || stats.Started.IsZero() {
		t.Errorf("%+v", e)
	}
}

func ask(t *testing.T, conn *nats.Conn, subject string, into any) {
	t.Helper()
	response, err := conn.Request(subject, nil, 10*time.Second)
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	if err := json.Unmarshal(response.Data, into); err != nil {
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
	s := start(t, natsapi.Config{Broker: broker, MaxConcurrent: 1, MaxQueued: 1, Logger: quiet}, nil, def)
	c, err := client.New(def, dial(t, broker.client(t)))
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

// A call of a service without a server is Unavailable at once.
func TestCallWithoutServer(t *testing.T) {
	t.Parallel()
	broker := startEmbedded(t, "")
	c, err := client.New(worktest.Service(worktest.Succeed), dial(t, broker.client(t)))
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
func TestOpenDoesNotWait(t *testing.T) {
	t.Parallel()
	addr, credentials := freePort(t), embedded.Credentials(t.TempDir())
	seed, err := credentials.Add("caller")
	if err != nil {
		t.Fatal(err)
	}
	caller, err := natsapi.Open(natsapi.ClientConfig{URL: "nats://" + addr, Login: natsapi.Login{NkeyFile: seed}, Timeout: time.Second, Logger: quiet})
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
		broker := embedded.New(embedded.Config{Addr: addr, CredentialsDir: string(credentials), Logger: quiet})
		if err := broker.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		s := start(t, natsapi.Config{Broker: broker, Logger: quiet}, nil, def)
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

func eventually(t testing.TB, what string, condition func() bool) {
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
