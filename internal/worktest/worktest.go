// Package worktest is the work that tests of durable queues have done.
package worktest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport/message"
)

// Job is one piece of work, and how it fails.
type Job struct {
	Number int    `json:"number"`
	Fail   string `json:"fail"`
}

// Nothing is its result.
type Nothing struct{}

// Service has one endpoint, Do.
func Service(do func(context.Context, *Job) (*Nothing, error)) *chassi.Service {
	return chassi.NewService("jobs.v1.Jobs", chassi.NewEndpoint("Do", do, chassi.Public))
}

// Succeed does nothing.
func Succeed(context.Context, *Job) (*Nothing, error) { return &Nothing{}, nil }

// Done remembers which ids were handled, as a table in a database would.
type Done struct {
	sync.Mutex

	Times    map[string]int // deliveries by id
	Finished map[string]int // work done by id
	Event    chan string
}

// NewDone returns one that has seen nothing.
func NewDone() *Done {
	return &Done{Times: make(map[string]int), Finished: make(map[string]int), Event: make(chan string, 100_000)}
}

// Do works once for each id, and fails as the job says.
func (d *Done) Do(ctx context.Context, j *Job) (*Nothing, error) {
	id := chassi.CallFrom(ctx).In.Get(message.IDKey)
	d.Lock()
	defer d.Unlock()
	d.Times[id]++
	defer func() { d.Event <- id }()
	switch {
	case j.Fail == "twice" && d.Times[id] <= 2:
		return nil, chassi.NewError(chassi.Unavailable, "not_yet", "Not yet")
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

// Count returns how many ids were done, and how many deliveries were too many.
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
		case <-time.After(20 * time.Second):
			t.Fatalf("delivery %d of %d did not come", i+1, n)
		}
	}
}
