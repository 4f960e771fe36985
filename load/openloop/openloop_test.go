package openloop_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/load/openloop"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func run(t *testing.T, c openloop.Config, call openloop.Call) *openloop.Result {
	t.Helper()
	r, err := openloop.Run(t.Context(), c, call)
	if err != nil {
		t.Fatal(err)
	}
	if r.Due != r.Sent+r.Dropped || r.Sent != r.OK+r.Refused+r.Failed {
		t.Errorf("the counts do not add up: %+v", r)
	}
	return r
}

func near(got, want time.Duration) bool {
	return math.Abs(float64(got-want)) <= 0.01*float64(want)
}

func TestKnownTimesGiveKnownPercentiles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// Of each thousand calls one takes 1 ms, one 2 ms, and so on to 1000 ms.
		r := run(t, openloop.Config{Rate: 1000, Duration: 5 * time.Second, Workers: 2000}, func(_ context.Context, n int) error {
			time.Sleep(time.Duration(n%1000+1) * time.Millisecond)
			return nil
		})
		want := openloop.Latency{P50: 500 * time.Millisecond, P90: 900 * time.Millisecond, P99: 990 * time.Millisecond, P999: 999 * time.Millisecond, Max: time.Second}
		got := r.Accepted
		if r.OK != 5000 || !near(got.P50, want.P50) || !near(got.P90, want.P90) || !near(got.P99, want.P99) || !near(got.P999, want.P999) || got.Max != want.Max {
			t.Errorf("%d calls, %+v, want %+v", r.OK, got, want)
		}
		if r.Late != 0 {
			t.Errorf("late by %v on a clock that waits for us", r.Late)
		}
	})
}

// The server responds in 1 ms and stops for one second of ten. Of the tenth of all
// calls that were due then, one was at the server and the others could not even be
// sent: counted from sending, only that one would be slow.
func TestAStallShowsInEveryCallDueMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := run(t, openloop.Config{Rate: 100, Duration: 10 * time.Second, Workers: 1}, func(_ context.Context, n int) error {
			if n == 300 {
				time.Sleep(time.Second)
			}
			time.Sleep(time.Millisecond)
			return nil
		})
		// The hundred that wait are worked off at 1 ms each while further ones come:
		// the call due k x 10 ms into the stall takes 1001 ms - k x 9 ms.
		if !near(r.Accepted.Max, 1001*time.Millisecond) {
			t.Errorf("max %v, want 1.001 s", r.Accepted.Max)
		}
		if want := 1001*time.Millisecond - 10*9*time.Millisecond; !near(r.Accepted.P99, want) {
			t.Errorf("p99 %v, want %v: the eleventh of the calls in the stall", r.Accepted.P99, want)
		}
		if want := 1001*time.Millisecond - 100*9*time.Millisecond; !near(r.Accepted.P90, want) {
			t.Errorf("p90 %v, want %v: the 101st of the calls in the stall", r.Accepted.P90, want)
		}
		if !near(r.Accepted.P50, time.Millisecond) {
			t.Errorf("p50 %v, want 1 ms", r.Accepted.P50)
		}
	})
}

func TestDropsAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stalled := make(chan struct{})
		time.AfterFunc(5550*time.Millisecond, func() { close(stalled) })
		r := run(t, openloop.Config{Rate: 10, Duration: 10 * time.Second, Workers: 2, Outstanding: 20}, func(context.Context, int) error {
			<-stalled
			return nil
		})
		// Twenty of the calls due until then are outstanding, the other 36 dropped.
		if r.Due != 100 || r.Dropped != 36 || r.OK != 64 {
			t.Errorf("%+v, want 100 due, 36 dropped, 64 ok", r)
		}
	})
}

func TestOutcomesAreIndependent(t *testing.T) {
	t.Parallel()
	errBusy := errors.New("busy")
	synctest.Test(t, func(t *testing.T) {
		c := openloop.Config{
			Rate: 100, Warmup: time.Second, Duration: 4 * time.Second, Timeout: 2 * time.Second,
			Refused: func(err error) bool { return errors.Is(err, errBusy) },
		}
		r := run(t, c, func(ctx context.Context, n int) error {
			switch {
			case n < 100: // warm-up
				time.Sleep(time.Second)
				return errors.New("left out")
			case n%4 == 0:
				time.Sleep(10 * time.Millisecond)
				return fmt.Errorf("server: %w", errBusy)
			case n%4 == 1:
				<-ctx.Done()
				return ctx.Err()
			}
			time.Sleep(50 * time.Millisecond)
			return nil
		})
		if r.Due != 400 || r.OK != 200 || r.Refused != 100 || r.Failed != 100 || r.Errors["context deadline exceeded"] != 100 || len(r.Errors) != 1 {
			t.Errorf("%+v", r)
		}
		if !near(r.Accepted.Max, 50*time.Millisecond) || !near(r.RefusedIn.P50, 10*time.Millisecond) {
			t.Errorf("accepted %+v, refused %+v", r.Accepted, r.RefusedIn)
		}
		// The last call is due 3.97 s after the warm-up and times out 2 s later.
		if math.Abs(r.Seconds-5.97) > 0.001 || math.Abs(r.Achieved-200/5.97) > 0.01 {
			t.Errorf("%v accepted calls per second in %v s", r.Achieved, r.Seconds)
		}
	})
}

func TestManyKindsOfErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := run(t, openloop.Config{Rate: 100, Duration: time.Second}, func(_ context.Context, n int) error { return fmt.Errorf("error %d", n) })
		if len(r.Errors) != 11 || r.Errors["other"] != 90 {
			t.Errorf("%v", r.Errors)
		}
	})
}

// Poisson arrivals have the rate, and intervals whose deviation is their mean.
func TestPoissonArrivals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		times := make([]time.Time, 10_000)
		r := run(t, openloop.Config{Rate: 100, Duration: 50 * time.Second, Poisson: true, Seed: 1}, func(_ context.Context, n int) error {
			times[n] = time.Now()
			return nil
		})
		var sum, squares float64
		for i := range r.OK - 1 {
			d := times[i+1].Sub(times[i]).Seconds()
			sum, squares = sum+d, squares+d*d
		}
		n := float64(r.OK - 1)
		mean := sum / n
		deviation := math.Sqrt(squares/n - mean*mean)
		if math.Abs(mean-0.01) > 0.0005 || math.Abs(deviation/mean-1) > 0.05 {
			t.Errorf("mean %v s, deviation %v s, want 0.01 s both", mean, deviation)
		}
	})
}

func TestTheEndOfTheContextEndsTheRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var calls atomic.Int64
		r, err := openloop.Run(ctx, openloop.Config{Rate: 10, Duration: time.Hour}, func(ctx context.Context, _ int) error {
			calls.Add(1)
			<-ctx.Done()
			return ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) || r.Failed != calls.Load() || r.Failed < 10 || r.Failed > 11 {
			t.Errorf("%v, %+v", err, r)
		}
	})
}

func TestUnrunnableCellsAreReported(t *testing.T) {
	t.Parallel()
	for _, c := range []openloop.Config{
		{Duration: time.Second}, {Rate: -1, Duration: time.Second}, {Rate: math.NaN(), Duration: time.Second}, {Rate: 1}, {Rate: 1, Duration: time.Second, Warmup: -1},
	} {
		if _, err := openloop.Run(t.Context(), c, nil); err == nil {
			t.Errorf("%+v was run", c)
		}
	}
}

// Every percentile is within a hundredth of the one of the sorted values.
func TestHistogramAgreesWithSorting(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 10, 999, 20_000} {
		var h openloop.Histogram
		values := make([]time.Duration, n)
		for i := range values {
			values[i] = time.Duration(math.Exp(random.Float64() * math.Log(float64(time.Hour))))
			h.Record(values[i])
		}
		slices.Sort(values)
		for _, p := range []float64{0, 1, 50, 90, 99, 99.9, 100} {
			rank := min(max(int(math.Ceil(p*float64(n)/100-1e-9)), 1), n)
			if got, want := h.Percentile(p), values[rank-1]; !near(got, want) {
				t.Errorf("p%v of %d: %v, want %v", p, n, got, want)
			}
		}
		if h.Max() != values[n-1] || h.Count() != uint64(n) {
			t.Errorf("max %v of %d, want %v of %d", h.Max(), h.Count(), values[n-1], n)
		}
	}
}

func TestHistogramEnds(t *testing.T) {
	t.Parallel()
	var h openloop.Histogram
	if h.Percentile(50) != 0 || h.Max() != 0 {
		t.Error("an empty one has values")
	}
	h.Record(-time.Second)
	h.Record(math.MaxInt64)
	if h.Percentile(50) != 0 || !near(h.Percentile(100), math.MaxInt64) {
		t.Errorf("%v, %v", h.Percentile(50), h.Percentile(100))
	}
}
