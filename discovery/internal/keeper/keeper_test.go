package keeper

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// calls are those that a fake got.
type calls struct {
	beats   []time.Time
	healths []error
	removed int
	closed  bool
}

// fake is a registry that notes when it is called.
type fake struct {
	mu    sync.Mutex
	err   error
	calls calls
}

func (f *fake) Beat(_ context.Context, health error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls.beats, f.calls.healths = append(f.calls.beats, time.Now()), append(f.calls.healths, health)
	return f.err
}

func (f *fake) Remove(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.calls.removed++
	}
	return f.err
}

func (f *fake) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls.closed = true
}

func (f *fake) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fake) got() calls {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// started runs test with a keeper that beats every 10 s.
func started(t *testing.T, f *fake, probe func(context.Context) error, test func(t *testing.T, k *Keeper, log *bytes.Buffer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		k := New(Options{
			Name: "fake", Service: "auth", Probe: probe, Interval: 10 * time.Second, Timeout: 2 * time.Second, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		}, f)
		if err := k.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		test(t, k, &log)
	})
}

func pauses(t *testing.T, beats []time.Time, shortest, longest time.Duration) {
	t.Helper()
	for i := 1; i < len(beats); i++ {
		if pause := beats[i].Sub(beats[i-1]); pause < shortest || pause > longest {
			t.Errorf("pause %d is %v, want %v to %v", i, pause, shortest, longest)
		}
	}
}

func TestBeatsUntilStop(t *testing.T) {
	t.Parallel()
	f := &fake{}
	started(t, f, nil, func(t *testing.T, k *Keeper, log *bytes.Buffer) {
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := k.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if n := len(f.got().beats); n < 6 || n > 9 || f.got().removed != 1 || !f.got().closed {
			t.Errorf("%d beats in a minute, removed %d times, closed %v", n, f.got().removed, f.got().closed)
		}
		pauses(t, f.got().beats, 7500*time.Millisecond, 10*time.Second)
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("want two lines, registered and deregistered:\n%s", log.String())
		}
	})
}

// While the service is unhealthy it is probed every second, so that its recovery is noticed early.
func TestFailingServersAreQueriedOften(t *testing.T) {
	t.Parallel()
	f := &fake{}
	sick := errors.New("the database is down")
	started(t, f, func(context.Context) error { return sick }, func(t *testing.T, k *Keeper, log *bytes.Buffer) {
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if err := k.Stop(t.Context()); err != nil || !errors.Is(f.got().healths[3], sick) {
			t.Error(err, f.got().healths)
		}
		pauses(t, f.got().beats, 750*time.Millisecond, time.Second)
		if n := strings.Count(log.String(), "the database is down"); n != 1 {
			t.Errorf("logged %d times", n)
		}
	})
}

// A panic of the probe means that the service is unhealthy.
func TestPanicInProbe(t *testing.T) {
	t.Parallel()
	f := &fake{}
	started(t, f, func(context.Context) error { panic("in the probe") }, func(t *testing.T, k *Keeper, _ *bytes.Buffer) {
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if err := k.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if healths := f.got().healths; len(healths) < 10 || healths[9] == nil || !strings.Contains(healths[9].Error(), "in the probe") {
			t.Errorf("the registry got %v", healths)
		}
	})
}

// A registry that is down is tried after 1 s, 2 s, 4 s, 8 s and then with each beat.
func TestTriesOn(t *testing.T) {
	t.Parallel()
	f := &fake{err: errors.New("connection refused")}
	started(t, f, nil, func(t *testing.T, k *Keeper, log *bytes.Buffer) {
		time.Sleep(time.Hour)
		synctest.Wait()
		pauses(t, f.got().beats[:2], 750*time.Millisecond, time.Second)
		pauses(t, f.got().beats[2:4], 3*time.Second, 4*time.Second)
		pauses(t, f.got().beats[5:], 7500*time.Millisecond, 10*time.Second)
		if err := k.Stop(t.Context()); err != nil || len(f.got().beats) < 300 {
			t.Errorf("%v after %d beats", err, len(f.got().beats))
		}
		if n := strings.Count(log.String(), "cannot be updated"); n != 1 {
			t.Errorf("logged %d times", n)
		}
	})
}

// Drain tries until it is done, registers no more, and leaves nothing to Stop.
func TestDrain(t *testing.T) {
	t.Parallel()
	f := &fake{}
	started(t, f, nil, func(t *testing.T, k *Keeper, log *bytes.Buffer) {
		synctest.Wait()
		f.fail(errors.New("connection refused"))
		k.Drain()
		k.Drain()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		f.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if f.got().removed != 1 || len(f.got().beats) != 1 {
			t.Errorf("removed %d times with %d beats", f.got().removed, len(f.got().beats))
		}
		if err := k.Stop(t.Context()); err != nil || f.got().removed != 1 {
			t.Errorf("%v, removed %d times", err, f.got().removed)
		}
	})
}

func TestProbeIsBounded(t *testing.T) {
	t.Parallel()
	f := &fake{}
	started(t, f, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, func(t *testing.T, k *Keeper, _ *bytes.Buffer) {
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		if len(f.got().healths) != 1 || !errors.Is(f.got().healths[0], context.DeadlineExceeded) {
			t.Errorf("health is %v", f.got().healths)
		}
		k.Stop(t.Context())
	})
}

func TestStopAbandonsAHungProbe(t *testing.T) {
	t.Parallel()
	f := &fake{}
	started(t, f, func(context.Context) error { time.Sleep(time.Hour); return nil }, func(t *testing.T, k *Keeper, _ *bytes.Buffer) {
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := k.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "auth") {
			t.Errorf("Stop returned %v", err)
		}
		time.Sleep(time.Hour)
	})
}
