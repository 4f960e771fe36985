package breaker_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/breaker"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDown = errors.New("down")

// call makes one call that ends with err, and reports whether it was let through.
func call(b *breaker.Breaker, err error) (let bool) {
	_, _ = breaker.Do(b, func() (int, error) { let = true; return 1, err })
	return let
}

func TestDoReturnsResultOfTheFunction(t *testing.T) {
	t.Parallel()
	b := breaker.New(breaker.Options{Name: "x"})
	if n, err := breaker.Do(b, func() (int, error) { return 7, errDown }); n != 7 || !errors.Is(err, errDown) {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := breaker.Do(b, func() (int, error) { return 8, nil }); n != 8 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// Fault 31: it opens after ten failures in a row.
func TestFault31OpensOnConsecutiveFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var changes []breaker.State
		b := breaker.New(breaker.Options{Name: "payments", OnChange: func(_, to breaker.State) { changes = append(changes, to) }})
		for range 1000 {
			call(b, nil)
		}
		for i := range 10 {
			if b.State() != breaker.Closed || !call(b, errDown) {
				t.Fatalf("refused after %d failures", i)
			}
		}
		time.Sleep(2 * time.Second)
		_, err := breaker.Do(b, func() (int, error) { t.Error("called"); return 0, nil })
		var open *breaker.OpenError
		if !errors.As(err, &open) || open.Name != "payments" || open.RetryAfter != 3*time.Second {
			t.Errorf("%v", err)
		}
		time.Sleep(3*time.Second + 1)
		for i := range 3 {
			if !call(b, nil) {
				t.Errorf("probe %d was refused", i)
			}
		}
		if b.State() != breaker.Closed || !slices.Equal(changes, []breaker.State{breaker.Open, breaker.HalfOpen, breaker.Closed}) {
			t.Errorf("%v, by way of %v", b.State(), changes)
		}
	})
}

func TestOpensOnTheRatio(t *testing.T) {
	t.Parallel()
	b := breaker.New(breaker.Options{Config: breaker.Config{Ratio: 0.3}})
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 10_000 {
		var err error
		if random.Float64() < 0.4 {
			err = errDown
		}
		if !call(b, err) {
			if i < 20 {
				t.Errorf("opened after %d calls", i)
			}
			return
		}
	}
	t.Error("40 % errors did not open a breaker for 30 %")
}

// Fault 31: no flapping at 49 % errors, though rows of ten failures are common then.
func TestFault31NoFlappingNearTheRatio(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Options{OnChange: func(from, to breaker.State) { t.Errorf("%v to %v", from, to) }})
		random := rand.New(rand.NewPCG(3, 4))
		row, longest := 0, 0
		for range 200_000 {
			var err error
			if random.Float64() < 0.49 {
				err = errDown
			}
			if row++; err == nil {
				row = 0
			}
			longest = max(longest, row)
			time.Sleep(time.Millisecond)
			call(b, err)
		}
		t.Logf("200,000 calls, 49 %% of them failures, up to %d in a row: it stayed closed", longest)
		if longest < 12 {
			t.Errorf("only %d failures in a row: the test shows nothing", longest)
		}
	})
}

// Fault 31: of 1,000 parallel callers exactly as many get through as there are
// probes, and when one fails, none does.
func TestFault31HalfOpenLetsExactlyTheProbesThrough(t *testing.T) {
	t.Parallel()
	for name, outcome := range map[string]error{"probes succeed": nil, "probes fail": errDown, "probes are cancelled": context.Canceled} {
		const probes = 5
		b := breaker.New(breaker.Options{Config: breaker.Config{Consecutive: 1, OpenDuration: time.Millisecond, Probes: probes}})
		call(b, errDown)
		for b.State() == breaker.Open {
		}
		var let atomic.Int64
		var all, tried sync.WaitGroup
		start, finish := make(chan struct{}), make(chan struct{})
		tried.Add(1000)
		for range 1000 {
			all.Go(func() {
				<-start
				done, err := b.Allow()
				tried.Done()
				if err == nil {
					let.Add(1)
					<-finish
					done(outcome)
				}
			})
		}
		close(start)
		tried.Wait()
		t.Logf("half-open, 1,000 parallel callers: %d let through, %d are to be", let.Load(), probes)
		if let.Load() != probes {
			t.Errorf("%s: %d got through, want %d", name, let.Load(), probes)
		}
		close(finish)
		all.Wait()
		if outcome == nil && b.State() != breaker.Closed {
			t.Errorf("%s: %v", name, b.State())
		}
		if errors.Is(outcome, context.Canceled) && !call(b, nil) {
			t.Errorf("%s: they kept their places", name)
		}
	}
}

func TestAPanicIsAFailureAndGoesOn(t *testing.T) {
	t.Parallel()
	b := breaker.New(breaker.Options{Config: breaker.Config{Consecutive: 1}})
	func() {
		defer func() {
			if v := recover(); v != "oh" {
				t.Errorf("recovered %v", v)
			}
		}()
		_, _ = breaker.Do(b, func() (int, error) { panic("oh") })
	}()
	if b.State() != breaker.Open {
		t.Error("it is still closed")
	}
}

func TestCanceledCallsAreNotMeasured(t *testing.T) {
	t.Parallel()
	b := breaker.New(breaker.Options{})
	for range 100 {
		if !call(b, context.Canceled) {
			t.Fatal("opened by callers that gave up")
		}
	}
}

// One that is strict asks nothing of the past.
func TestStrict(t *testing.T) {
	t.Parallel()
	b := breaker.New(breaker.Options{Config: breaker.Config{Consecutive: 3}, Strict: true})
	for i, err := range []error{errDown, nil, errDown, errDown, nil, errDown, errDown, errDown} {
		if !call(b, err) {
			t.Errorf("refused at call %d", i)
		}
	}
	if b.State() != breaker.Open {
		t.Error("still closed after three failures in a row")
	}
}

func TestOldCallsAreDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Options{})
		for range 9 {
			call(b, errDown)
			time.Sleep(12 * time.Second)
		}
		for i := range 10 {
			if !call(b, errDown) {
				t.Errorf("opened after %d failures within the window", i)
			}
		}
	})
}

func BenchmarkDo(b *testing.B) {
	s := breaker.New(breaker.Options{})
	b.ReportAllocs()
	for b.Loop() {
		_, _ = breaker.Do(s, func() (int, error) { return 1, nil })
	}
}
