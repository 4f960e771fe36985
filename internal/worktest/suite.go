package worktest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/broker"
	"github.com/chassi-go/chassi/transport"
)

// Run runs all tests of the suite with the broker b. The tests run in parallel.
func Run(t *testing.T, b Broker) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, *fixture){
		"Outcomes": testOutcomes, "Drain": testDrain, "Prefix": testPrefix, "LargeDeadLetter": testLargeDeadLetter, "TooLarge": testTooLarge,
		"Reconnect": testReconnect, "TakeOver": testTakeOver, "Metadata": testMetadata, "PlainProducer": testPlainProducer,
		"InvalidMessages": testInvalidMessages, "Instances": testInstances, "Waiting": testWaiting,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, &fixture{Broker: b, prefix: "test" + strings.ToLower(name), done: NewDone()})
		})
	}
}

// fixture contains the broker of a test, the prefix of its queues, and the record of its jobs.
type fixture struct {
	Broker

	prefix string
	done   *Done
}

// jobs is the queue of most tests.
var jobs = transport.Queue{Name: "jobs", MaxAttempts: 3, Delay: 10 * time.Millisecond}

// start starts a server that processes the messages of the queues, and returns the server. The
// caller must stop it.
func (f *fixture) start(t *testing.T, o Options, queues ...transport.Queue) Server {
	t.Helper()
	if o.MaxConcurrent == 0 {
		o.MaxConcurrent = 8
	}
	s := f.Server(t, o)
	for _, q := range queues {
		if err := s.Consume(q, Service(f.done.Do).Endpoint("Do")); err != nil {
			t.Fatal(err)
		}
	}
	f.begin(t, s)
	return s
}

// begin starts s. It tries again while the broker is unavailable, as an App does, and fails the
// test after any other error.
func (f *fixture) begin(t *testing.T, s Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := s.Start(ctx)
		if err == nil {
			return
		}
		if chassi.ErrorOf(err).Code != chassi.Unavailable || ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// patience is the maximum duration of every wait of the suite.
const patience = 60 * time.Second

func stop(t *testing.T, s Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
}

// publish publishes a job with p. An error fails the test.
func publish(t *testing.T, p Publisher, id string, j *Job) {
	t.Helper()
	if err := tryPublish(t, p, id, j); err != nil {
		t.Fatal(err)
	}
}

func tryPublish(t *testing.T, p Publisher, id string, j *Job) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return p.Publish(ctx, Service(Succeed).Endpoint("Do"), id, j)
}

// settle waits until the queues are empty, stops s, and verifies that no unacknowledged message
// returns to the queues.
func (f *fixture) settle(t *testing.T, s Server, queues ...string) {
	t.Helper()
	for _, queue := range queues {
		f.empty(t, queue)
	}
	stop(t, s)
	for _, queue := range queues {
		f.empty(t, queue)
	}
}

func (f *fixture) empty(t *testing.T, queue string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		n := f.Left(t, f.prefix, queue)
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d messages are left in the queue %s after %v, want none", n, queue, patience)
		}
	}
}

// testOutcomes verifies that a job is done once, that a temporary error is retried after MaxDelay
// at the latest even if the error requests a longer delay, and that a job becomes a dead letter,
// with the code and the reason of its last error, after a permanent error or after MaxAttempts
// attempts.
func testOutcomes(t *testing.T, f *fixture) {
	o := Options{Prefix: f.prefix}
	jobs := jobs
	jobs.MaxDelay = 20 * time.Millisecond
	p := f.Publisher(t, o, jobs)
	for id, fail := range map[string]string{"fine": "", "once": "once", "twice": "twice", "always": "always", "permanent": "permanent", "panic": "panic"} {
		publish(t, p, id, &Job{Fail: fail})
		if f.Dedupes {
			publish(t, p, id, &Job{Fail: fail})
		}
	}
	s := f.start(t, o, jobs)
	f.done.Await(t, 1+2+3+3+1+3)
	f.settle(t, s, jobs.Name)
	f.done.Lock()
	defer f.done.Unlock()
	wantRuns := "map[always:3 fine:1 once:2 panic:3 permanent:1 twice:3] map[fine:1 once:1 twice:1]"
	if runs := fmt.Sprint(f.done.Times, f.done.Finished); runs != wantRuns {
		t.Errorf("got the deliveries and the completed jobs %s, want %s", runs, wantRuns)
	}
	got := make(map[string]string)
	for _, l := range f.DeadLetters(t, f.prefix, jobs.Name, 3) {
		got[l.ID] = l.Headers[broker.CodeKey] + " " + l.Headers[broker.ReasonKey] + " " + l.Headers[transport.AttemptsKey]
	}
	want := "map[always:internal internal 3 panic:internal internal 3 permanent:invalid_argument bad_job 1]"
	if text := fmt.Sprint(got); text != want {
		t.Errorf("got the dead letters %s, want %s", text, want)
	}
}

// testDrain verifies that stopping a server completes the jobs that have begun and leaves all other
// jobs for the next instance, however often they were returned to the queue.
func testDrain(t *testing.T, f *fixture) {
	o := Options{Prefix: f.prefix, MaxConcurrent: 4}
	once := jobs
	once.MaxAttempts = 1
	p := f.Publisher(t, o, once)
	const n = 100
	for i := range n {
		publish(t, p, strconv.Itoa(i), &Job{Number: i})
	}
	for round := 0; ; round++ {
		s := f.start(t, o, once)
		f.done.Await(t, 1)
		stop(t, s)
		if handled, duplicates := f.done.Count(); handled == n {
			if duplicates > 0 {
				t.Errorf("got %d repeated deliveries in %d rounds, want none", duplicates, round+1)
			}
			return
		}
		f.done.Drain()
	}
}

// testPrefix verifies that systems with different prefixes share a broker but no jobs, whatever the
// names of prefixes and queues.
func testPrefix(t *testing.T, f *fixture) {
	production, staging := f.done, NewDone()
	s := f.start(t, Options{Prefix: f.prefix}, jobs)
	defer stop(t, s)
	f.done = staging
	for _, prefix := range []string{f.prefix + "-staging", f.prefix + "_work"} {
		other := f.start(t, Options{Prefix: prefix}, jobs)
		defer stop(t, other)
		publish(t, f.Publisher(t, Options{Prefix: prefix}, jobs), prefix, &Job{})
	}
	publish(t, f.Publisher(t, Options{Prefix: f.prefix}, jobs), "production", &Job{})
	production.Await(t, 1)
	staging.Await(t, 2)
	if a, b := slices.Sorted(maps.Keys(production.Times)), slices.Sorted(maps.Keys(staging.Times)); !slices.Equal(a, []string{"production"}) || len(b) != 2 {
		t.Errorf("production ran the jobs %v and staging ran %v, want [production] and two jobs", a, b)
	}
}

// testLargeDeadLetter verifies that a message of the maximum size of the broker becomes a complete
// dead letter exactly once.
func testLargeDeadLetter(t *testing.T, f *fixture) {
	s := f.start(t, Options{Prefix: f.prefix}, jobs)
	bodies := make(map[string]bool)
	for i, free := range []int{0, 40, 200, 400} { // for headers of the server, or a part of them
		body := `{"number":` + strconv.Itoa(i) + `,"fail":"permanent","padding":""}`
		body = strings.Replace(body, `""`, `"`+strings.Repeat("x", f.MaxBytes-free-len(body))+`"`, 1)
		bodies[body] = true
		f.Produce(t, f.prefix, jobs.Name, Produced{Body: body})
	}
	f.done.Await(t, len(bodies))
	for _, l := range f.DeadLetters(t, f.prefix, jobs.Name, len(bodies)) {
		if !bodies[l.Body] {
			t.Errorf("got a dead letter with the %d bytes %.60q..., want each published body once", len(l.Body), l.Body)
		}
		delete(bodies, l.Body)
	}
	f.settle(t, s, jobs.Name)
	f.done.Lock()
	defer f.done.Unlock()
	if n := f.done.Times[""]; n != 4 {
		t.Errorf("got %d deliveries of 4 messages, want 4", n)
	}
}

// testTooLarge verifies that publishing a message that is too large for the broker returns an error
// and does not affect other messages of the publisher, and that a message that is too large only
// for the server becomes a dead letter.
func testTooLarge(t *testing.T, f *fixture) {
	o := Options{Prefix: f.prefix}
	s := f.start(t, o, jobs)
	defer stop(t, s)
	p := f.Publisher(t, o, jobs)
	published := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < 100 && err == nil; i++ {
			err = tryPublish(t, p, "other"+strconv.Itoa(i), &Job{Number: i})
		}
		published <- err
	}()
	for _, size := range []int{f.MaxBytes + 1, 10 * f.MaxBytes, f.MaxBytes + 1} {
		err := tryPublish(t, p, "large", &Job{Padding: strings.Repeat("x", size)})
		if e := chassi.ErrorOf(err); err == nil || e.Code != chassi.ResourceExhausted || e.Reason != "body_too_large" {
			t.Errorf("padding of %d bytes: got %v, want resource_exhausted with the reason body_too_large", size, err)
		}
	}
	if err := <-published; err != nil {
		t.Errorf("smaller messages: got %v, want no error", err)
	}
	f.done.Await(t, 100)
	publish(t, p, "almost", &Job{Padding: strings.Repeat("x", MaxMessageBytes)})
	for _, l := range f.DeadLetters(t, f.prefix, jobs.Name, 1) {
		if l.ID != "almost" || l.Headers[broker.ReasonKey] != "body_too_large" || l.Headers[transport.AttemptsKey] != "1" {
			t.Errorf("got the dead letter %q with the headers %v, want \"almost\" with the reason body_too_large after 1 attempt", l.ID, l.Headers)
		}
	}
}

// MaxMessageBytes is the maximum message size, in bytes, with which a [Broker] configures its
// servers. The maximum of the broker itself is larger.
const MaxMessageBytes = 1<<20 - 100<<10

// testReconnect verifies that an interruption of the connection loses no work while every worker is
// busy: each message is processed and acknowledged. The connection is shared by several queues and
// also serves calls.
func testReconnect(t *testing.T, f *fixture) {
	if f.Proxy == nil {
		t.Log("connections to this broker cannot be cut")
		return
	}
	addr, proxy := f.Proxy(t)
	proxy.Open()
	mails := transport.Queue{Name: "mails", MaxAttempts: 100, Delay: 10 * time.Millisecond}
	many := jobs
	many.MaxAttempts = 100 // a lost connection uses up some
	s := f.Server(t, Options{Prefix: f.prefix, Addr: addr, MaxConcurrent: 4})
	for _, q := range []transport.Queue{many, mails} {
		if err := s.Consume(q, Service(f.done.Do).Endpoint("Do")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Mount(Service(f.done.Do)); err != nil {
		t.Fatal(err)
	}
	f.begin(t, s)
	const each = 64
	for _, q := range []transport.Queue{many, mails} {
		p := f.Publisher(t, Options{Prefix: f.prefix}, q)
		for i := range each {
			publish(t, p, q.Name+strconv.Itoa(i), &Job{Number: i, Fail: "wait"})
		}
	}
	for range 2 {
		for range 8 { // both queues' workers are busy
			f.done.Enter(t)
		}
		proxy.Cut()
		for range 8 {
			f.done.Leave <- struct{}{} // and want to acknowledge over a connection that is gone
		}
		proxy.Open()
	}
	close(f.done.Leave)
	for handled := 0; handled < 2*each; handled, _ = f.done.Count() {
		f.done.Await(t, 1)
	}
	f.settle(t, s, many.Name, mails.Name)
}

// testTakeOver verifies that another instance processes the unacknowledged messages of an instance
// that disappears.
func testTakeOver(t *testing.T, f *fixture) {
	if f.Proxy == nil {
		t.Log("connections to this broker cannot be cut")
		return
	}
	addr, proxy := f.Proxy(t)
	proxy.Open()
	slow := transport.Queue{Name: jobs.Name, Timeout: time.Hour} // no broker may wait for that
	vanishing := f.start(t, Options{Prefix: f.prefix, Addr: addr}, slow)
	publish(t, f.Publisher(t, Options{Prefix: f.prefix}, slow), "taken over", &Job{Fail: "deaf"})
	f.done.Enter(t)
	proxy.Cut()
	s := f.start(t, Options{Prefix: f.prefix}, slow)
	f.done.Enter(t)
	close(f.done.Leave)
	f.done.Await(t, 2)
	f.settle(t, s, jobs.Name)
	stop(t, vanishing)
}

// testMetadata verifies that a message carries the request ID of the call that published it, and
// the metadata that middleware adds, such as the trace context.
func testMetadata(t *testing.T, f *fixture) {
	o := Options{Prefix: f.prefix}
	const id, trace = "request-of-the-outer-call", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	var published *chassi.Binding
	p := f.Publisher(t, o, jobs, func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		published = b
		return func(ctx context.Context, call *chassi.Call) error {
			call.In.Set("Traceparent", trace)
			return next(ctx, call)
		}
	})
	outer := &chassi.Call{RequestID: id}
	s := f.start(t, o, jobs)
	defer stop(t, s)
	for _, job := range []*Job{{}, {Fail: "twice"}} { // an attempt that is repeated has it too
		if err := p.Publish(outer.Context(t.Context()), Service(Succeed).Endpoint("Do"), "with metadata "+job.Fail, job); err != nil {
			t.Fatal(err)
		}
	}
	f.done.Await(t, 4)
	f.done.Lock()
	defer f.done.Unlock()
	for _, c := range f.done.Calls {
		if c.RequestID != id || c.Traceparent != trace {
			t.Errorf("got a call with %+v, want the request ID %s and the trace %s", c, id, trace)
		}
	}
	if published == nil || !published.Client || published.Route == "" || published.Endpoint.Name() != "Do" {
		t.Errorf("got the binding %+v for the middleware, want a client binding of Do with a route", published)
	}
}

const producersID = "request-of-a-producer"

// testPlainProducer verifies that producers in other languages can publish JSON, with or without
// headers, and that messages that cannot be decoded become dead letters.
func testPlainProducer(t *testing.T, f *fixture) {
	s := f.start(t, Options{Prefix: f.prefix}, jobs)
	defer stop(t, s)
	for _, m := range []Produced{
		{ID: "bare", Body: `{"number":1}`},
		{ID: "json", Headers: map[string]string{broker.ContentTypeKey: broker.JSON, transport.RequestIDKey: producersID}, Body: `{"number":2,"fail":""}`},
		{ID: "malformed", Body: `{"number":`},
		{ID: "unknown", Body: `{"amount":1}`},
		{ID: "other type", Headers: map[string]string{broker.ContentTypeKey: "text/plain"}, Body: `hello`},
	} {
		f.Produce(t, f.prefix, jobs.Name, m)
	}
	f.done.Await(t, 2)
	var dead []string
	for _, l := range f.DeadLetters(t, f.prefix, jobs.Name, 3) {
		dead = append(dead, l.ID+" "+l.Headers[broker.CodeKey]+" "+l.Headers[transport.AttemptsKey])
	}
	slices.Sort(dead)
	if want := []string{"malformed invalid_argument 1", "other type invalid_argument 1", "unknown invalid_argument 1"}; !slices.Equal(dead, want) {
		t.Errorf("got the dead letters %v, want %v", dead, want)
	}
	f.done.Lock()
	defer f.done.Unlock()
	if got, want := fmt.Sprint(f.done.Finished), "map[bare:1 json:1]"; got != want {
		t.Errorf("got the completed jobs %s, want %s", got, want)
	}
	if !slices.ContainsFunc(f.done.Calls, func(c Seen) bool { return c.RequestID == producersID }) {
		t.Errorf("got the calls %+v, want one with the request ID %s", f.done.Calls, producersID)
	}
}

// testInstances verifies that each instance works on as many messages as MaxConcurrent allows, so
// that two instances work on twice as many as one.
func testInstances(t *testing.T, f *fixture) {
	o := Options{Prefix: f.prefix, MaxConcurrent: 3}
	slow := transport.Queue{Name: jobs.Name, Timeout: time.Hour}
	a, b := f.start(t, o, slow), f.start(t, o, slow)
	defer stop(t, b)
	defer stop(t, a)
	p := f.Publisher(t, o, slow)
	const n = 8
	for i := range n {
		publish(t, p, strconv.Itoa(i), &Job{Fail: "wait"})
	}
	for range 6 {
		f.done.Enter(t)
	}
	if more := len(f.done.Entered); more > 0 {
		t.Errorf("got %d jobs in progress, want 6: 3 for each of two instances", 6+more)
	}
	close(f.done.Leave)
	f.done.Await(t, n)
	if handled, duplicates := f.done.Count(); handled != n || duplicates != 0 {
		t.Errorf("got %d completed jobs and %d repeated deliveries, want %d and 0", handled, duplicates, n)
	}
}

// testWaiting verifies that messages that wait for their next attempt do not delay other messages.
func testWaiting(t *testing.T, f *fixture) {
	o := Options{Prefix: f.prefix, MaxConcurrent: 2}
	later := transport.Queue{Name: jobs.Name, Delay: time.Hour, MaxDelay: time.Hour}
	s := f.start(t, o, later)
	defer stop(t, s)
	p := f.Publisher(t, o, later)
	for i := range 5 {
		publish(t, p, "failing "+strconv.Itoa(i), &Job{Fail: "always"})
	}
	publish(t, p, "fine", &Job{})
	f.done.Await(t, 6)
	f.done.Lock()
	defer f.done.Unlock()
	if f.done.Finished["fine"] != 1 {
		t.Errorf("got the completed jobs %v, want fine once", f.done.Finished)
	}
}

// testInvalidMessages verifies that publishing an invalid message returns an error and that the
// connection stays open.
func testInvalidMessages(t *testing.T, f *fixture) {
	o := Options{Prefix: f.prefix}
	p := f.Publisher(t, o, jobs)
	e := Service(Succeed).Endpoint("Do")
	var none *Job
	for name, c := range map[string]struct {
		id      string
		request any
	}{
		"long id": {strings.Repeat("x", 300), &Job{}}, "id not ASCII": {"é", &Job{}}, "id of two lines": {"a\r\nb", &Job{}},
		"nil": {"a", nil}, "no job": {"a", none}, "not a pointer": {"a", Job{}}, "another type": {"a", &Nothing{}},
	} {
		if err := p.Publish(t.Context(), e, c.id, c.request); chassi.ErrorOf(err).Code != chassi.InvalidArgument {
			t.Errorf("%s: got %v, want invalid_argument", name, err)
		}
	}
	type uncarried struct{ C chan int }
	unfit := chassi.NewEndpoint("Do", func(context.Context, *uncarried) (*Nothing, error) { return &Nothing{}, nil })
	_ = chassi.NewService("work.v1.Unfit", unfit)
	if err := p.Publish(t.Context(), unfit, "a", &uncarried{}); chassi.ErrorOf(err).Code != chassi.InvalidArgument {
		t.Errorf("endpoint without an encoding: got %v, want invalid_argument", err)
	}
	publish(t, p, strings.Repeat("x", 200), &Job{})
}
