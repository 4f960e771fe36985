package amqpapi_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/worktest"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/amqpapi"
)

// blocker is a service whose method Wait is held until it is opened, and whose method Do
// returns at once.
type blocker struct {
	entered chan string // the caller of each Wait that has begun
	opened  chan struct{}
	done    atomic.Int64 // calls of Do
}

func newBlocker() *blocker {
	return &blocker{entered: make(chan string, 1000), opened: make(chan struct{})}
}

func (g *blocker) service(name string) *chassi.Service {
	wait := func(ctx context.Context, _ *worktest.Job) (*worktest.Job, error) {
		g.entered <- chassi.CallFrom(ctx).PeerName
		select {
		case <-g.opened:
			return &worktest.Job{}, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	do := func(_ context.Context, j *worktest.Job) (*worktest.Job, error) {
		g.done.Add(1)
		return &worktest.Job{Number: j.Number + 1}, nil
	}
	return chassi.NewService(name, chassi.NewEndpoint("Wait", wait, chassi.Public), chassi.NewEndpoint("Do", do, chassi.Public),
		chassi.NewEndpoint("Again", do, chassi.Public, chassi.Idempotent))
}

// invoke calls a method of the blocker.
func invoke(t *testing.T, c *client.Client, name string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_, err := client.Invoke[worktest.Job](ctx, c, name, &worktest.Job{})
	return err
}

// raw is a connection that publishes requests by hand and reads their responses.
type raw struct {
	channel   *amqp.Channel
	responses <-chan amqp.Delivery
}

func newRaw(t *testing.T, url string) *raw {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ch := open(t, conn)
	responses, err := ch.Consume("amq.rabbitmq.reply-to", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &raw{ch, responses}
}

func (r *raw) send(t *testing.T, exchange, key string, p amqp.Publishing) {
	t.Helper()
	if p.ReplyTo == "" {
		p.ReplyTo = "amq.rabbitmq.reply-to"
	}
	if p.Body == nil {
		p.Body = []byte(`{"number":1,"fail":""}`)
	}
	if err := r.channel.PublishWithContext(t.Context(), exchange, key, true, false, p); err != nil {
		t.Fatal(err)
	}
}

func (r *raw) respond(t *testing.T) amqp.Delivery {
	t.Helper()
	select {
	case d, ok := <-r.responses:
		if !ok {
			t.Fatal("the channel was closed")
		}
		return d
	case <-time.After(20 * time.Second):
		t.Fatal("no response within 20 s")
	}
	return amqp.Delivery{}
}

// A client that has reached its limit of concurrent calls is refused immediately, and another
// is served.
func TestOneClientLeavesCapacityForOthers(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	p, g, events := prefix(t, url, "block.v1.Block"), newBlocker(), new(eventCounter)
	s := start(t, amqpapi.Config{URL: url, Prefix: p, MaxConcurrent: 4, Observe: events.count}, nil, g.service("block.v1.Block"))
	defer stop(t, s)
	defer close(g.opened)
	named, err := client.New(g.service("block.v1.Block"), dial(t, amqpapi.ClientConfig{URL: url, Prefix: p}))
	if err != nil {
		t.Fatal(err)
	}
	var held sync.WaitGroup
	defer held.Wait()
	for range 2 { // half of four
		go func() { _ = invoke(t, named, "Wait") }()
		<-g.entered
	}
	for range 10 {
		if e := chassi.ErrorOf(invoke(t, named, "Do")); e == nil || e.Code != chassi.ResourceExhausted || e.Reason != "too_many_calls" {
			t.Fatalf("a call too many: %v", e)
		}
	}
	unnamed := newRaw(t, url)
	unnamed.send(t, p+".block.v1.Block", "block.v1.Block.Do", amqp.Publishing{})
	if d := unnamed.respond(t); string(d.Body) != `{"number":2,"fail":""}` {
		t.Errorf("another client is answered %s", d.Body)
	}
	unnamed.send(t, p+".block.v1.Block", "block.v1.Block.Wait", amqp.Publishing{})
	<-g.entered
	unnamed.send(t, p+".block.v1.Block", "block.v1.Block.Do", amqp.Publishing{}) // those without a name share a quarter
	if e := chassi.ErrorOf(amqpapi.ErrorOf(unnamed.respond(t))); e == nil || e.Code != chassi.ResourceExhausted {
		t.Errorf("a call too many without a name: %v", e)
	}
	if n := events.of(amqpapi.EventClientBusy); n != 11 {
		t.Errorf("%d calls were counted as too many, want 11", n)
	}
}

// A queue that is full refuses a message to its publisher at once, and takes messages
// again when it has capacity.
func TestFullQueueRefusesItsPublisher(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	p, g := prefix(t, url, "block.v1.Block"), newBlocker()
	s := start(t, amqpapi.Config{URL: url, Prefix: p, MaxConcurrent: 1, MaxQueueLength: 3}, nil, g.service("block.v1.Block"))
	defer stop(t, s)
	c, err := client.New(g.service("block.v1.Block"), dial(t, amqpapi.ClientConfig{URL: url, Prefix: p}))
	if err != nil {
		t.Fatal(err)
	}
	const calls = 20
	results := make(chan error, calls)
	go func() { results <- invoke(t, c, "Wait") }()
	<-g.entered
	for range calls - 1 {
		go func() { results <- invoke(t, c, "Do") }()
	}
	for range calls - 1 - 3 {
		if err := <-results; chassi.ErrorOf(err).Code != chassi.Unavailable || !strings.Contains(err.Error(), "its queue may be full") {
			t.Errorf("a call beyond the bound: %v", err)
		}
	}
	close(g.opened)
	for range 4 {
		if err := <-results; err != nil {
			t.Errorf("a call within the bound: %v", err)
		}
	}
	if err := invoke(t, c, "Do"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// A client bounds its calls under way.
func TestClientBoundsItsCalls(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	p, g := prefix(t, url, "block.v1.Block"), newBlocker()
	s := start(t, amqpapi.Config{URL: url, Prefix: p}, nil, g.service("block.v1.Block"))
	defer stop(t, s)
	c, err := client.New(g.service("block.v1.Block"), dial(t, amqpapi.ClientConfig{URL: url, Prefix: p, MaxInFlight: 2}))
	if err != nil {
		t.Fatal(err)
	}
	results := make(chan error, 2)
	for range 2 {
		go func() { results <- invoke(t, c, "Wait") }()
		<-g.entered
	}
	if e := chassi.ErrorOf(invoke(t, c, "Do")); e == nil || e.Code != chassi.ResourceExhausted {
		t.Errorf("the third call: %v", e)
	}
	close(g.opened)
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if err := invoke(t, c, "Do"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// A request whose expiration passes while it waits for its call is not carried out.
func TestExpiredRequestIsNotCarriedOut(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	p, held, g, events := prefix(t, url, "held.v1.Held", "block.v1.Block"), newBlocker(), newBlocker(), new(eventCounter)
	s := start(t, amqpapi.Config{URL: url, Prefix: p, MaxConcurrent: 1, Observe: events.count}, nil, held.service("held.v1.Held"), g.service("block.v1.Block"))
	defer stop(t, s)
	r := newRaw(t, url)
	r.send(t, p+".held.v1.Held", "held.v1.Held.Wait", amqp.Publishing{UserId: "guest"})
	<-held.entered // the only worker is busy
	sent := time.Now()
	r.send(t, p+".block.v1.Block", "block.v1.Block.Do", amqp.Publishing{Expiration: "700"})
	until(t, "the request is delivered and its expiration has passed", func() bool {
		q, err := r.channel.QueueDeclarePassive(p+".block.v1.Block.requests", true, false, false, false, nil)
		return err == nil && q.Messages == 0 && time.Since(sent) > 900*time.Millisecond
	})
	close(held.opened)
	until(t, "the request is dropped", func() bool { return events.of(amqpapi.EventExpired) == 1 })
	r.respond(t) // of the held call
	r.send(t, p+".block.v1.Block", "block.v1.Block.Do", amqp.Publishing{Expiration: "20000"})
	r.respond(t)
	if n := g.done.Load(); n != 1 {
		t.Errorf("the method ran %d times, want once", n)
	}
}

// The expiration of a request is the deadline of its call, if it says no other.
func TestExpirationIsTheDeadline(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	p, g := prefix(t, url, "block.v1.Block"), newBlocker()
	s := start(t, amqpapi.Config{URL: url, Prefix: p}, nil, g.service("block.v1.Block"))
	defer stop(t, s)
	r := newRaw(t, url)
	r.send(t, p+".block.v1.Block", "block.v1.Block.Wait", amqp.Publishing{Expiration: "300"})
	<-g.entered
	if e := chassi.ErrorOf(amqpapi.ErrorOf(r.respond(t))); e == nil || e.Code != chassi.DeadlineExceeded {
		t.Errorf("answered %v, want deadline_exceeded", e)
	}
}

// A request that is delivered again, because its instance died, is carried out again
// only by a method that may be; the caller of another learns that it may have been done.
func TestRedeliveredRequest(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	p, g, events := prefix(t, url, "block.v1.Block"), newBlocker(), new(eventCounter)
	stop(t, start(t, amqpapi.Config{URL: url, Prefix: p}, nil, g.service("block.v1.Block"))) // declares the queue
	r := newRaw(t, url)
	for _, name := range []string{"Do", "Again"} {
		r.send(t, p+".block.v1.Block", "block.v1.Block."+name, amqp.Publishing{CorrelationId: name})
	}
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	dying := open(t, conn)
	for taken := 0; taken < 2; {
		_, ok, err := dying.Get(p+".block.v1.Block.requests", false)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			taken++
		}
	}
	conn.Close() // without an acknowledgement
	s := start(t, amqpapi.Config{URL: url, Prefix: p, Observe: events.count}, nil, g.service("block.v1.Block"))
	defer stop(t, s)
	for range 2 {
		d := r.respond(t)
		e := chassi.ErrorOf(amqpapi.ErrorOf(d))
		switch d.CorrelationId {
		case "Do":
			if e == nil || e.Code != chassi.Aborted || e.Reason != "may_have_been_done" {
				t.Errorf("a method that may not be repeated: %v", e)
			}
		case "Again":
			if e != nil {
				t.Errorf("a method that may be repeated: %v", e)
			}
		}
	}
	if n := g.done.Load(); n != 1 || events.of(amqpapi.EventRedelivered) != 1 {
		t.Errorf("carried out %d, counted %d; want one each", n, events.of(amqpapi.EventRedelivered))
	}
}

// When the connection for responses is lost, requests are neither lost nor repeated: their
// responses go over the next one.
func TestLostResponsesConnection(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	p, g := prefix(t, url, "block.v1.Block"), newBlocker()
	s := start(t, amqpapi.Config{URL: url, Prefix: p}, nil, g.service("block.v1.Block"))
	defer stop(t, s)
	c, err := client.New(g.service("block.v1.Block"), dial(t, amqpapi.ClientConfig{URL: url, Prefix: p}))
	if err != nil {
		t.Fatal(err)
	}
	const calls = 10
	results := make(chan error, calls)
	for range calls {
		go func() { results <- invoke(t, c, "Wait") }()
		<-g.entered
	}
	amqpapi.CutResponses(s)
	close(g.opened)
	for range calls {
		if err := <-results; err != nil {
			t.Errorf("a call under way: %v", err)
		}
	}
	if n := len(g.entered); n != 0 {
		t.Errorf("%d requests were carried out again", n)
	}
}

// A response that can go nowhere does not bring its request back.
func TestResponseToNowhere(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	p, g := prefix(t, url, "block.v1.Block"), newBlocker()
	s := start(t, amqpapi.Config{URL: url, Prefix: p}, nil, g.service("block.v1.Block"))
	defer stop(t, s)
	r := newRaw(t, url)
	for range 10 {
		r.send(t, p+".block.v1.Block", "block.v1.Block.Do", amqp.Publishing{ReplyTo: p + ".reply.anonymous.gone"})
	}
	r.send(t, p+".block.v1.Block", "block.v1.Block.Do", amqp.Publishing{})
	r.respond(t)
	if n := g.done.Load(); n != 11 {
		t.Errorf("carried out %d, want 11", n)
	}
}

// A request that is too long or has too many headers is refused without a call.
func TestMalformedRequestsAreAnswered(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	p, g := prefix(t, url, "block.v1.Block"), newBlocker()
	s := start(t, amqpapi.Config{URL: url, Prefix: p, MaxMessageBytes: 1000}, nil, g.service("block.v1.Block"))
	defer stop(t, s)
	r := newRaw(t, url)
	headers := amqp.Table{}
	for i := range amqpapi.MaxHeaders + 50 {
		headers[strings.Repeat("h", i+1)] = "x"
	}
	for reason, request := range map[string]amqp.Publishing{"body_too_large": {Body: make([]byte, 1001)}, "too_many_headers": {Headers: headers}} {
		r.send(t, p+".block.v1.Block", "block.v1.Block.Do", request)
		if e := chassi.ErrorOf(amqpapi.ErrorOf(r.respond(t))); e == nil || e.Reason != reason {
			t.Errorf("answered %v, want %s", e, reason)
		}
	}
	if n := g.done.Load(); n != 0 {
		t.Errorf("carried out %d", n)
	}
}

// Settings that are wrong are all named.
func TestWrongSettings(t *testing.T) {
	t.Parallel()
	err := amqpapi.New(amqpapi.Config{Prefix: "a.b", ReplyQueues: "reply.*", TrustedClients: []string{""}}).Start(t.Context())
	for _, want := range []string{`amqp.prefix ("a.b")`, `amqp.reply_queues ("reply.*")`, "amqp.trusted_clients"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for _, good := range []string{"", "reply", "staging.reply", "off"} {
		if err := (amqpapi.Config{ReplyQueues: good}).Validate(); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

// The bytes that wait in the queue of a service are bounded as their number is.
func TestQueueFullOfBytesRefusesItsPublisher(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	p, g := prefix(t, url, "block.v1.Block"), newBlocker()
	s := start(t, amqpapi.Config{URL: url, Prefix: p, MaxConcurrent: 1, MaxQueueBytes: 3 << 10}, nil, g.service("block.v1.Block"))
	defer stop(t, s)
	c, err := client.New(g.service("block.v1.Block"), dial(t, amqpapi.ClientConfig{URL: url, Prefix: p}))
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error, 1)
	go func() { waiting <- invoke(t, c, "Wait") }()
	<-g.entered
	raw := newRaw(t, url)
	if err := raw.channel.Confirm(false); err != nil {
		t.Fatal(err)
	}
	publish := func(size int) (stored bool) {
		confirmation, err := raw.channel.PublishWithDeferredConfirmWithContext(t.Context(), p+".block.v1.Block", "block.v1.Block.Do", true, false, amqp.Publishing{
			ReplyTo: "amq.rabbitmq.reply-to", Body: bytes.Repeat([]byte(" "), size),
		})
		if err != nil {
			t.Fatal(err)
		}
		return confirmation.Wait()
	}
	if !publish(2 << 10) {
		t.Error("2 of 3 KiB were refused")
	}
	if publish(2 << 10) {
		t.Error("4 of 3 KiB were taken")
	}
	close(g.opened)
	if err := <-waiting; err != nil {
		t.Errorf("a call within the bound: %v", err)
	}
	until(t, "the queue accepts messages again", func() bool { return invoke(t, c, "Do") == nil })
}

// A line about what clients cause is logged once in a while, with texts of a bounded
// length, and says how many were left out.
func TestLinesOfClientsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		warn := amqpapi.SeldomWarn(slog.New(slog.NewTextHandler(&out, nil)))
		long := strings.Repeat("x", 10_000)
		for range 100 {
			warn("a request was refused", long)
		}
		if n := strings.Count(out.String(), "\n"); n != 1 || out.Len() > 400 {
			t.Errorf("%d lines of %d bytes", n, out.Len())
		}
		warn("another kind", long)
		time.Sleep(10 * time.Second)
		warn("a request was refused", long)
		if text := out.String(); strings.Count(text, "\n") != 3 || !strings.Contains(text, "omitted=99") {
			t.Errorf("afterwards:\n%s", text)
		}
	})
}

// A response that is too large to be sent is an error to its own caller, at once.
func TestResponsesAreBounded(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	p := prefix(t, url, "large.v1.Large")
	service := func() *chassi.Service {
		large := func(_ context.Context, j *worktest.Job) (*worktest.Job, error) {
			return &worktest.Job{Fail: strings.Repeat("x", j.Number)}, nil
		}
		return chassi.NewService("large.v1.Large", chassi.NewEndpoint("Do", large, chassi.Public))
	}
	s := start(t, amqpapi.Config{URL: url, Prefix: p}, nil, service())
	defer stop(t, s)
	c, err := client.New(service(), dial(t, amqpapi.ClientConfig{URL: url, Prefix: p}))
	if err != nil {
		t.Fatal(err)
	}
	for size, reason := range map[int]string{1: "", 16<<20 - 100: "", 16 << 20: "response_too_large", 64 << 20: "response_too_large"} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		response, err := client.Invoke[worktest.Job](ctx, c, "Do", &worktest.Job{Number: size})
		cancel()
		if reason == "" && (err != nil || len(response.Fail) != size) {
			t.Errorf("%d bytes: %v", size, err)
		}
		if e := chassi.ErrorOf(err); reason != "" && (e.Code != chassi.ResourceExhausted || e.Reason != reason) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// Work queues are bounded in number and bytes: their broker names the bounds to somebody
// who declares them without.
func TestWorkQueuesAreBounded(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	p := prefix(t, url, "bounded", "bounded.dead")
	q := transport.Queue{Name: "bounded", MaxAttempts: 1}
	server := amqpapi.New(amqpapi.Config{URL: url, Prefix: p})
	if err := server.Consume(q, worktest.Service(worktest.Succeed).Endpoint("Do")); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer stop(t, server)
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	want := map[string]string{p + ".bounded": "'1000000'", p + ".bounded.dead": "'100000'"}
	for queue, args := range amqpapi.WorkQueues(t, p, q) {
		args["x-max-length"] = int64(7)
		_, err := open(t, conn).QueueDeclare(queue, true, false, false, false, args)
		if err == nil || !strings.Contains(err.Error(), "x-max-length") || !strings.Contains(err.Error(), want[queue]) {
			t.Errorf("%s: %v", queue, err)
		}
	}
}
