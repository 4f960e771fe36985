// Package worktest verifies the contract of the work queues of a broker: [Run] runs one suite with
// a real server, publishers and plain clients of the broker.
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

// Job is one job and describes how it fails.
type Job struct {
	Number  int    `json:"number"`
	Fail    string `json:"fail"`
	Padding string `json:"padding,omitzero"`
}

// Nothing is the result of a [Job].
type Nothing struct{}

// Service returns a service with one endpoint, Do, whose method is do.
func Service(do func(context.Context, *Job) (*Nothing, error)) *chassi.Service {
	return chassi.NewService("jobs.v1.Jobs", chassi.NewEndpoint("Do", do, chassi.Public))
}

// Succeed returns an empty result.
func Succeed(context.Context, *Job) (*Nothing, error) { return &Nothing{}, nil }

// Done records the ids of the completed jobs, like a table in a database.
type Done struct {
	sync.Mutex

	Times    map[string]int // deliveries by id
	Finished map[string]int // work done by id
	Calls    []Seen         // deliveries
	Event    chan string    // the id of each delivery, for Await

	Entered chan string   // ids of jobs that wait for Leave
	Leave   chan struct{} // ends one of them, or all when it is closed
}

// Seen is what a delivery contained about its call.
type Seen struct{ RequestID, Traceparent string }

// NewDone returns an empty Done.
func NewDone() *Done {
	return &Done{
		Times: make(map[string]int), Finished: make(map[string]int),
		Event: make(chan string, 100_000), Entered: make(chan string, 100_000), Leave: make(chan struct{}),
	}
}

// Do completes each id at most once, and fails as the job specifies.
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
		return nil, chassi.NewError(chassi.Unavailable, "not_yet", "Not yet")
	case j.Fail == "once" && d.Times[id] <= 1:
		return nil, chassi.NewError(chassi.Unavailable, "not_yet", "Not yet").WithRetryAfter(24 * time.Hour)
	case j.Fail == "always":
		return nil, errors.New("a fault of ours")
	case j.Fail == "permanent":
		return nil, chassi.NewError(chassi.InvalidArgument, "bad_job", "Bad job")
	case j.Fail == "panic":
		panic("a canary")
	}
	if d.Finished[id] == 0 { // behind the idempotency key
		d.Finished[id]++
	}
	return &Nothing{}, nil
}

// Count returns the number of completed ids and of superfluous deliveries.
func (d *Done) Count() (handled, duplicates int) {
	d.Lock()
	defer d.Unlock()
	for _, n := range d.Times {
		duplicates += n - 1
	}
	return len(d.Finished), duplicates
}

// Await waits for n deliveries.
func (d *Done) Await(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		select {
		case <-d.Event:
		case <-time.After(60 * time.Second):
			t.Fatalf("delivery %d of %d did not come", i+1, n)
		}
	}
}

// Enter waits until a job waits for Leave.
func (d *Done) Enter(t *testing.T) {
	t.Helper()
	select {
	case <-d.Entered:
	case <-time.After(60 * time.Second):
		t.Fatal("no job was begun")
	}
}

// Drain discards the deliveries that no test has waited for.
func (d *Done) Drain() {
	for len(d.Event) > 0 {
		<-d.Event
	}
}
