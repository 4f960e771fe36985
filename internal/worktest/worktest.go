// Package worktest tests the work queues of a message broker. [Run] runs a suite of tests with real
// servers, publishers and plain clients of the broker.
package worktest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
)

// Job is the request of the endpoint Do. Fail selects how [Done.Do] ends: with a temporary error in
// the first attempt ("once") or in the first two attempts ("twice"), with an internal error
// ("always"), a permanent error ("permanent") or a panic ("panic"), or with success (""). With
// "wait" and "deaf", the job waits for Done.Leave and then succeeds. A job with "wait" stops
// waiting and fails if its context is done.
type Job struct {
	Number  int    `json:"number"`
	Fail    string `json:"fail"`
	Padding string `json:"padding,omitzero"`
}

// Nothing is the empty result of a [Job].
type Nothing struct{}

// Service returns a service with one public endpoint, Do, whose method is do.
func Service(do func(context.Context, *Job) (*Nothing, error)) *chassi.Service {
	return chassi.NewService("jobs.v1.Jobs", chassi.NewEndpoint("Do", do, chassi.Public))
}

// Succeed is a method for [Service] that always succeeds. It returns an empty result.
func Succeed(context.Context, *Job) (*Nothing, error) { return &Nothing{}, nil }

// Done records deliveries and completed jobs by message ID, as a table in a database would. The
// mutex guards Times, Finished and Calls.
type Done struct {
	sync.Mutex

	Times    map[string]int // number of deliveries, by message ID
	Finished map[string]int // number of times that the work was done, by message ID
	Calls    []Seen         // the calls of all deliveries
	Event    chan string    // receives the message ID of each delivery, for Await

	Entered chan string   // receives the message IDs of the jobs that wait for Leave
	Leave   chan struct{} // a value ends the wait of one job; closing it ends all waits
}

// Seen contains the metadata of the call of a delivery.
type Seen struct{ RequestID, Traceparent string }

// NewDone returns an empty Done.
func NewDone() *Done {
	return &Done{
		Times: make(map[string]int), Finished: make(map[string]int),
		Event: make(chan string, 100_000), Entered: make(chan string, 100_000), Leave: make(chan struct{}),
	}
}

// Do records a delivery of j, unless j.Fail is "wait" and ctx is done while j waits for Leave. Do
// completes the work of each message ID at most once, and fails as j.Fail specifies.
func (d *Done) Do(ctx context.Context, j *Job) (*Nothing, error) {
	call := chassi.CallFrom(ctx)
	id := call.In.Get(transport.IdempotencyKey)
	if j.Fail == "wait" || j.Fail == "deaf" {
		d.Entered <- id
		ended := ctx.Done()
		if j.Fail == "deaf" {
			ended = nil
		}
		select {
		case <-d.Leave:
		case <-ended:
			return nil, ctx.Err()
		}
	}
	d.Lock()
	defer d.Unlock()
	d.Calls = append(d.Calls, Seen{call.RequestID, call.In.Get("Traceparent")})
	d.Times[id]++
	defer func() { d.Event <- id }()
	switch {
	case j.Fail == "twice" && d.Times[id] <= 2:
		return nil, chassi.NewError(chassi.Unavailable, "not_yet", "The job is not ready yet")
	case j.Fail == "once" && d.Times[id] <= 1:
		return nil, chassi.NewError(chassi.Unavailable, "not_yet", "The job is not ready yet").WithRetryAfter(24 * time.Hour)
	case j.Fail == "always":
		return nil, errors.New("an internal error")
	case j.Fail == "permanent":
		return nil, chassi.NewError(chassi.InvalidArgument, "bad_job", "The job is invalid")
	case j.Fail == "panic":
		panic("a canary")
	}
	if d.Finished[id] == 0 { // behind the idempotency key
		d.Finished[id]++
	}
	return &Nothing{}, nil
}

// Count returns the number of completed message IDs, and the number of deliveries beyond the first
// delivery of each message ID.
func (d *Done) Count() (handled, duplicates int) {
	d.Lock()
	defer d.Unlock()
	for _, n := range d.Times {
		duplicates += n - 1
	}
	return len(d.Finished), duplicates
}

// Await waits for n deliveries. It fails the test if one of them takes longer than 60 s.
func (d *Done) Await(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		select {
		case <-d.Event:
		case <-time.After(60 * time.Second):
			t.Fatalf("delivery %d of %d did not arrive within 60 s", i+1, n)
		}
	}
}

// Enter waits until a job waits for Leave. It fails the test after 60 s.
func (d *Done) Enter(t *testing.T) {
	t.Helper()
	select {
	case <-d.Entered:
	case <-time.After(60 * time.Second):
		t.Fatal("no job waited for Leave within 60 s")
	}
}

// Drain discards the recorded events of deliveries, so that Await waits only for later deliveries.
func (d *Done) Drain() {
	for len(d.Event) > 0 {
		<-d.Event
	}
}
