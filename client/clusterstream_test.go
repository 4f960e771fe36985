package client_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/breaker"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport"
)

// breaks is the key of the channel in the context of streams that breaks off those of a:1.
type breaks struct{}

// BindStream makes an instance open streams as it makes calls, of one item. A stream stays open
// until its context ends.
func (i *instance) BindStream(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error) {
	return &chassi.Binding{Endpoint: e, Transport: "test", Client: true, Route: e.FullName()}, i.stream, nil
}

func (i *instance) stream(ctx context.Context, call *chassi.Call) error {
	i.calls.Add(1)
	if err := i.fleet.behave(ctx, i); err != nil {
		return err
	}
	call.Stream.Open()
	if !call.Stream.Received(ctx, &answer{From: i.addr}, 0) {
		return chassi.ErrorOf(context.Canceled)
	}
	var broken chan struct{}
	if i.addr == "a:1" {
		broken, _ = ctx.Value(breaks{}).(chan struct{})
	}
	select {
	case <-broken:
		return transport.ErrTruncated
	case <-ctx.Done():
		return chassi.ErrorOf(context.Canceled)
	}
}

// watch opens a stream and takes its item. Rest returns its end.
func (r *remote) watch(ctx context.Context, name string) (from string, rest func() error, err error) {
	items, err := client.Stream[answer](ctx, r.Client, name, &question{})
	if err != nil {
		return "", nil, err
	}
	first, end := make(chan string, 1), make(chan error, 1)
	go func() {
		for item, err := range items {
			if err != nil {
				end <- err
				return
			}
			first <- item.From
		}
		end <- nil
	}()
	return <-first, func() error { return <-end }, nil
}

func inFlight(r *remote) (instances map[string]int) {
	instances = make(map[string]int)
	for _, i := range r.cluster.Stats().Instances {
		instances[i.Addr] = i.InFlight
	}
	return instances
}

// A stream whose opening fails or hangs is opened at another instance, if it is idempotent.
func TestStreamOpensElsewhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hangs := func(ctx context.Context, i *instance) error {
			if i.addr == "a:1" {
				return pass(ctx, time.Hour)
			}
			return nil
		}
		for name, behave := range map[string]func(context.Context, *instance) error{"fails": failsOnce(errDown), "hangs": hangs} {
			ctx, cancel := context.WithCancel(t.Context())
			r := open(t, client.Policy{AttemptTimeout: time.Second, Balancing: "round_robin"}, behave, "a:1", "b:1")
			for range 2 {
				if _, _, err := r.watch(ctx, "Watch"); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			if s := r.cluster.Stats(); s.Retries != 1 {
				t.Errorf("%s: %d retries", name, s.Retries)
			}
			r = open(t, client.Policy{}, failsOnce(errDown), "a:1", "b:1")
			if _, _, err := r.watch(ctx, "Tail"); !errors.Is(err, errDown) {
				t.Errorf("a stream that is not idempotent: %v", err)
			}
			cancel()
			synctest.Wait()
		}
	})
}

// A stream counts as in flight at its instance until its end, and for the bulkhead until it is
// open. It has no timeout of the policy.
func TestStreamIsInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := open(t, client.Policy{MaxInFlight: 1, Timeout: time.Second, AttemptTimeout: time.Second}, takes(0), "a:1")
		var rests []func() error
		for range 3 {
			_, rest, err := r.watch(ctx, "Watch")
			if err != nil {
				t.Fatal(err)
			}
			rests = append(rests, rest)
		}
		time.Sleep(time.Hour)
		instance := r.at("a:1")
		r.news <- []string{"b:1"} // a:1 is gone
		synctest.Wait()
		if n := r.cluster.Stats().InFlight; n != 0 || instance.closed.Load() {
			t.Errorf("%d calls in flight; the client of the streams is closed: %v", n, instance.closed.Load())
		}
		if _, _, err := r.watch(ctx, "Watch"); err != nil || inFlight(r)["b:1"] != 1 {
			t.Errorf("%v, in flight: %v", err, inFlight(r))
		}
		cancel()
		for _, rest := range rests {
			if err := rest(); chassi.ErrorOf(err).Code != chassi.Canceled {
				t.Error(err)
			}
		}
		synctest.Wait()
		if !instance.closed.Load() || inFlight(r)["b:1"] != 0 {
			t.Errorf("the client is closed: %v; in flight: %v", instance.closed.Load(), inFlight(r))
		}
	})
}

// A stream that breaks off ends with an error and is not opened again. An instance whose streams
// break off is ejected, and its breaker opens.
func TestBrokenStreams(t *testing.T) {
	t.Parallel()
	for name, policy := range map[string]client.Policy{
		"ejection": {Breaker: never, Eject: client.Eject{Consecutive: 3}},
		"breaker":  {Breaker: breaker.Config{Consecutive: 3}, Eject: client.Eject{Consecutive: 1000}},
	} {
		synctest.Test(t, func(t *testing.T) {
			broken := make(chan struct{})
			ctx := context.WithValue(t.Context(), breaks{}, broken)
			policy.Balancing = "round_robin"
			r := open(t, policy, takes(0), "a:1", "b:1")
			var rests []func() error
			for range 6 {
				from, rest, err := r.watch(ctx, "Watch")
				if err != nil {
					t.Fatal(err)
				}
				if from == "a:1" {
					rests = append(rests, rest)
				}
			}
			close(broken)
			for _, rest := range rests {
				if err := rest(); !errors.Is(err, transport.ErrTruncated) {
					t.Errorf("%s: %v", name, err)
				}
			}
			synctest.Wait()
			if calls := r.at("a:1").calls.Load() + r.at("b:1").calls.Load(); calls != 6 {
				t.Errorf("%s: %d streams were opened, want 6", name, calls)
			}
			if s := r.cluster.Stats(); s.Ejections+s.BreakersOpened == 0 || s.Retries != 0 {
				t.Errorf("%s: %+v", name, s)
			}
		})
	}
}
