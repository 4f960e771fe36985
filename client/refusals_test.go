package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
)

// Where the breakers of all instances are open, the error says when the first of them lets
// calls through again.
func TestTheSoonestRefusalIsReturned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Pointer[string]
		r := open(t, client.Policy{Balancing: "round_robin", Eject: client.Eject{Consecutive: 10_000}}, func(_ context.Context, i *instance) error {
			if strings.Contains(*down.Load(), i.addr) {
				return errDown
			}
			return nil
		}, "a:1", "b:1", "c:1")
		call := func() error { _, err := r.write(t.Context()); return err }
		for _, addrs := range []string{"b:1", "b:1,c:1", "a:1,b:1,c:1"} {
			down.Store(&addrs)
			r.many(1000, 1, call)
			time.Sleep(time.Second)
		}
		for range 50 {
			err := chassi.ErrorOf(call())
			if err.Reason != "circuit_open" || err.RetryAfter != 2*time.Second || !strings.Contains(err.Cause.Error(), "b:1") {
				t.Fatalf("%v, retry after %v, want that of b:1 after 2s", err, err.RetryAfter)
			}
		}
	})
}

// A call whose time is over reaches no instance, and says nothing about one.
func TestACallThatIsOverReachesNoInstance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := open(t, client.Policy{}, takes(0), "a:1")
		if _, err := r.write(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 30 {
			if _, err := r.write(ctx); chassi.ErrorOf(err).Code != chassi.Canceled {
				t.Fatal(err)
			}
		}
		if i := r.cluster.Stats().Instances[0]; r.at("a:1").calls.Load() != 1 || i.Failures != 0 || i.InFlight != 0 {
			t.Errorf("%d calls, %+v", r.at("a:1").calls.Load(), i)
		}
	})
}

// Of many instances the only one that is not left out gets the calls, however long choosing
// it at random would take.
func TestTheOnlyUsableInstanceIsFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		addrs := []string{"good:1"}
		for i := range 19 {
			addrs = append(addrs, fmt.Sprintf("bad:%d", i+1))
		}
		r := open(t, client.Policy{Breaker: never, Eject: client.Eject{Consecutive: 1, MaxShare: 1}}, func(_ context.Context, i *instance) error {
			if i.addr != "good:1" {
				return errDown
			}
			return nil
		}, addrs...)
		call := func() error { _, err := r.write(t.Context()); return err }
		for r.cluster.Stats().Ejections < 19 {
			_ = call()
		}
		if failed := r.many(200, 1, call); failed != 0 {
			t.Errorf("%d of 200 calls went elsewhere", failed)
		}
	})
}

// A hedge that no instance takes does not end the call that it was to help.
func TestAHedgeThatIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var first atomic.Bool
		r := open(t, client.Policy{HedgeAfter: time.Second, Eject: client.Eject{Consecutive: 10_000}}, func(ctx context.Context, _ *instance) error {
			if first.CompareAndSwap(false, true) {
				return pass(ctx, 2*time.Second)
			}
			return errDown
		}, "a:1")
		result := make(chan error)
		go func() { _, err := r.read(t.Context()); result <- err }()
		synctest.Wait()
		r.many(20, 1, func() error { _, err := r.write(t.Context()); return err })
		if err := <-result; err != nil || r.cluster.Stats().Hedges != 1 {
			t.Errorf("%v, %+v", err, r.cluster.Stats())
		}
	})
}

// The response of a hedged call comes with its own metadata, and no other.
func TestMetadataOfAHedgedCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := open(t, client.Policy{Balancing: "round_robin", HedgeAfter: 50 * time.Millisecond}, func(ctx context.Context, i *instance) error {
			if i.addr == "slow:1" {
				return pass(ctx, time.Second)
			}
			return pass(ctx, 10*time.Millisecond)
		}, "slow:1", "fast:1")
		var from []string
		look := func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
			return func(ctx context.Context, call *chassi.Call) error {
				err := next(ctx, call)
				from = append(from, call.Out.Get("From"))
				return err
			}
		}
		c, err := client.New(service(), r.cluster, look)
		if err != nil {
			t.Fatal(err)
		}
		for range 4 {
			if _, err := client.Invoke[answer](t.Context(), c, "Read", &question{}); err != nil {
				t.Error(err)
			}
		}
		if got := strings.Join(from, " "); got != "fast:1 fast:1 fast:1 fast:1" {
			t.Errorf("from %s", got)
		}
	})
}

// choosy is a Caller that cannot call some endpoints, and counts how often it is closed.
type choosy struct {
	client.Caller
	refuses string
	closed  *atomic.Int64
}

var errChoosy = errors.New("not this one")

func (c *choosy) Bind(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error) {
	if e.Name() == c.refuses {
		return nil, nil, errChoosy
	}
	return c.Caller.Bind(e)
}

func (c *choosy) BindStream(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error) {
	return c.Caller.(client.Streamer).BindStream(e)
}

func (c *choosy) Close() error { c.closed.Add(1); return nil }

// An instance that cannot be dialed or lacks an endpoint is logged and left out; the others
// are used.
func TestInstancesThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		var closed atomic.Int64
		f := &fleet{behave: takes(0), news: make(chan []string, 1), instances: make(map[string]*instance)}
		cluster, err := client.NewCluster(client.ClusterOptions{Name: "test", Source: f, Logger: slog.New(slog.NewTextHandler(&log, nil)), Dial: func(addr string) (client.Caller, error) {
			if addr == "absurd:1" {
				return nil, errors.New("no such port")
			}
			i, err := f.dial(addr)
			return &choosy{i, map[string]string{"old:1": "Write"}[addr], &closed}, err
		}})
		if err != nil {
			t.Fatal(err)
		}
		c, err := client.New(service(), cluster)
		if err != nil {
			t.Fatal(err)
		}
		if err := cluster.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.news <- []string{"absurd:1", "old:1", "good:1"}
		synctest.Wait()
		r := &remote{f, c, cluster}
		for range 20 {
			if from, err := r.read(t.Context()); from != "good:1" || err != nil {
				t.Errorf("%q, %v", from, err)
			}
		}
		if closed.Load() != 1 {
			t.Errorf("%d closed, want the one that lacks an endpoint", closed.Load())
		}
		if err := cluster.Close(); err != nil || closed.Load() != 3 { // the good one, and that of no address
			t.Errorf("%v, %d closed", err, closed.Load())
		}
		for _, want := range []string{"addr=absurd:1 error=\"no such port\"", "addr=old:1 error=\"not this one\""} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("no %s in %s", want, log.String())
			}
		}
	})
}

// A cluster has its name, and refuses what its transport cannot call, before and after its
// instances are known.
func TestEndpointsThatCannotBeCalled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		if _, err := client.NewCluster(client.ClusterOptions{Name: "test", Dial: func(string) (client.Caller, error) { return nil, errChoosy }}); !errors.Is(err, errChoosy) || !strings.Contains(err.Error(), "test") {
			t.Error(err)
		}
		f := &fleet{behave: takes(0), news: make(chan []string, 1), instances: make(map[string]*instance)}
		var closed atomic.Int64
		for _, refusesAt := range []string{"127.0.0.1:1", "b:1"} { // the address of no instance, and one of two
			cluster, err := client.NewCluster(client.ClusterOptions{Name: "test", Source: f, Logger: slog.New(slog.DiscardHandler), Dial: func(addr string) (client.Caller, error) {
				i, err := f.dial(addr)
				return &choosy{i, map[string]string{refusesAt: "Write"}[addr], &closed}, err
			}})
			if err != nil {
				t.Fatal(err)
			}
			if cluster.Name() != "test" {
				t.Error(cluster.Name())
			}
			if err := cluster.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			f.news <- []string{"a:1", "b:1"}
			synctest.Wait()
			c, err := client.New(service(), cluster)
			if !errors.Is(err, errChoosy) || !strings.Contains(err.Error(), "client of test.v1.Test/Write") {
				t.Error(err)
			}
			if from, err := (&remote{f, c, cluster}).read(t.Context()); from == "" || err != nil {
				t.Errorf("the other endpoint: %q, %v", from, err)
			}
			if err := cluster.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// The request ID of the call being served is sent with outgoing calls.
func TestRequestIDIsForwarded(t *testing.T) {
	t.Parallel()
	r := open(t, client.Policy{}, takes(0), "a:1")
	var sent []string
	look := func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			sent = append(sent, call.RequestID+"="+call.In.Get("X-Request-Id"))
			return next(ctx, call)
		}
	}
	c, err := client.New(service(), r.cluster, look)
	if err != nil {
		t.Fatal(err)
	}
	with, without := &chassi.Call{RequestID: "abc"}, &chassi.Call{}
	for _, ctx := range []context.Context{with.Context(t.Context()), without.Context(t.Context()), t.Context()} {
		if _, err := client.Invoke[answer](ctx, c, "Read", &question{}); err != nil {
			t.Fatal(err)
		}
	}
	if want := "abc=abc = ="; strings.Join(sent, " ") != want {
		t.Errorf("%q, want %q", sent, want)
	}
}

// A middleware may refuse an endpoint when the client is made.
func TestNewReturnsErrorsOfMiddleware(t *testing.T) {
	t.Parallel()
	r := open(t, client.Policy{}, takes(0))
	refuse := func(b *chassi.Binding, next chassi.Handler) chassi.Handler { b.Fail(errChoosy); return next }
	if _, err := client.New(service(), r.cluster, refuse); !errors.Is(err, errChoosy) || !strings.Contains(err.Error(), "test.v1.Test/Read") {
		t.Error(err)
	}
}
