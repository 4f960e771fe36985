package client_test

import (
	"context"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/discovery"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type question struct{ N int }

type answer struct{ From string }

type upload struct{ File chassi.File }

// service has a method that may be repeated and one that may not.
func service() *chassi.Service {
	method := func(context.Context, *question) (*answer, error) { return nil, nil }
	watch := func(context.Context, *question) (iter.Seq2[*answer, error], error) { return nil, nil }
	return chassi.NewService("test.v1.Test",
		chassi.NewEndpoint("Read", method, chassi.Public, chassi.Idempotent),
		chassi.NewEndpoint("Write", method, chassi.Public),
		chassi.NewEndpoint("Upload", func(context.Context, *upload) (*answer, error) { return nil, nil }, chassi.Public, chassi.Idempotent),
		chassi.NewStream("Watch", watch, chassi.Public, chassi.Idempotent),
		chassi.NewStream("Tail", watch, chassi.Public),
	)
}

// instance is one place where the service is served.
type instance struct {
	fleet   *fleet
	addr    string
	closed  atomic.Bool
	calls   atomic.Int64
	busy    atomic.Int64
	highest atomic.Int64
}

func (i *instance) Bind(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error) {
	return &chassi.Binding{Endpoint: e, Transport: "test", Client: true, Route: e.FullName()}, i.serve, nil
}

func (i *instance) Close() { i.closed.Store(true) }

func (i *instance) serve(ctx context.Context, call *chassi.Call) error {
	i.calls.Add(1)
	busy := i.busy.Add(1)
	defer i.busy.Add(-1)
	for m := i.highest.Load(); busy > m && !i.highest.CompareAndSwap(m, busy); m = i.highest.Load() {
	}
	call.Out.Set("From", i.addr)
	call.Response.(*answer).From = i.addr
	return i.fleet.behave(ctx, i)
}

// fleet is a service in several instances, whose list can be changed.
type fleet struct {
	behave func(ctx context.Context, i *instance) error
	news   chan []string

	mu        sync.Mutex
	instances map[string]*instance
}

func (f *fleet) Next(ctx context.Context) ([]string, error) {
	select {
	case addrs := <-f.news:
		return addrs, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

var _ discovery.Source = (*fleet)(nil)

func (f *fleet) dial(addr string) (client.Caller, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := &instance{fleet: f, addr: addr}
	f.instances[addr] = i
	return i, nil
}

func (f *fleet) at(addr string) *instance {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.instances[addr]
}

// remote is a client of a fleet.
type remote struct {
	*fleet
	*client.Client

	cluster *client.Cluster
}

// open makes a client of a service that runs at addrs, and behaves.
func open(t testing.TB, p client.Policy, behave func(ctx context.Context, i *instance) error, addrs ...string) *remote {
	t.Helper()
	f := &fleet{behave: behave, news: make(chan []string, 1), instances: make(map[string]*instance)}
	c, err := client.NewCluster(client.ClusterOptions{Name: "test", Policy: p, Source: f, Dial: f.dial, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	calls, err := client.New(service(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Stop(context.Background()) })
	if len(addrs) > 0 {
		f.news <- addrs
	}
	return &remote{f, calls, c}
}

func (r *remote) read(ctx context.Context) (string, error) { return r.invoke(ctx, "Read") }

func (r *remote) write(ctx context.Context) (string, error) { return r.invoke(ctx, "Write") }

func (r *remote) invoke(ctx context.Context, method string) (string, error) {
	a, err := client.Invoke[answer](ctx, r.Client, method, &question{1})
	if err != nil {
		return "", err
	}
	return a.From, nil
}

// many makes n calls by parallel callers.
func (r *remote) many(n, parallel int, call func() error) (failed int64) {
	var left, failures atomic.Int64
	left.Store(int64(n))
	var all sync.WaitGroup
	for range parallel {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if call() != nil {
					failures.Add(1)
				}
			}
		})
	}
	all.Wait()
	return failures.Load()
}

func takes(d time.Duration) func(context.Context, *instance) error {
	return func(ctx context.Context, _ *instance) error { return pass(ctx, d) }
}

func pass(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return chassi.ErrorOf(ctx.Err())
	}
}

var (
	errDown   = chassi.NewError(chassi.Unavailable, "unreachable", "The service cannot be reached")
	errBusy   = chassi.NewError(chassi.Unavailable, "overloaded", "Too much to do")
	errNoSuch = chassi.NewError(chassi.NotFound, "no_such_thing", "No such thing")
)
