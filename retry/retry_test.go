package retry_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/retry"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDown = errors.New("down")

// failing fails so often, then succeeds, and counts its calls.
func failing(times int, calls *int) func(context.Context) (int, error) {
	return func(context.Context) (int, error) {
		if *calls++; *calls <= times {
			return 0, errDown
		}
		return *calls, nil
	}
}

func TestDoTriesAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for failures, want := range []struct {
			calls int
			err   error
		}{{1, nil}, {2, nil}, {3, nil}, {3, errDown}} {
			calls := 0
			n, err := retry.Do(t.Context(), retry.Policy{}, failing(failures, &calls))
			if calls != want.calls || !errors.Is(err, want.err) || err == nil && n != calls {
				t.Errorf("%d failures: %d calls, %d, %v", failures, calls, n, err)
			}
		}
	})
}

func TestPausesGrowAndAreRandom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const rounds = 500
		var sum [4]time.Duration
		p := retry.Policy{Config: retry.Config{Attempts: 5, Backoff: 100 * time.Millisecond, MaxBackoff: 300 * time.Millisecond}}
		for range rounds {
			last, calls := time.Now(), 0
			_, _ = retry.Do(t.Context(), p, func(context.Context) (int, error) {
				if calls > 0 {
					pause := time.Since(last)
					if limit := min(100*time.Millisecond<<(calls-1), 300*time.Millisecond); pause > limit {
						t.Errorf("pause %d is %v, over %v", calls, pause, limit)
					}
					sum[calls-1] += pause
				}
				calls++
				last = time.Now()
				return 0, errDown
			})
		}
		for i, mean := range [4]int64{50, 100, 150, 150} {
			if got := (sum[i] / rounds).Milliseconds(); got < mean*8/10 || got > mean*12/10 {
				t.Errorf("pause %d is %d ms in the mean, want %d", i+1, got, mean)
			}
		}
	})
}

func TestNonRetryableErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		over, cancelOver := context.WithCancel(t.Context())
		cancelOver()
		empty := retry.NewBudget(0, 0)
		for name, c := range map[string]struct {
			ctx    context.Context
			policy retry.Policy
			err    error
		}{
			"a cancelled call":          {t.Context(), retry.Policy{}, context.Canceled},
			"a call that took too long": {t.Context(), retry.Policy{}, context.DeadlineExceeded},
			"a caller that has gone":    {over, retry.Policy{}, errDown},
			"an empty budget":           {t.Context(), retry.Policy{Budget: empty}, errDown},
			"a pause past the deadline": {short, retry.Policy{Retryable: func(error) (time.Duration, bool) { return 5 * time.Second, true }}, errDown},
			"an error for good":         {t.Context(), retry.Policy{Retryable: func(error) (time.Duration, bool) { return 0, false }}, errDown},
			"one attempt":               {t.Context(), retry.Policy{Config: retry.Config{Attempts: 1}}, errDown},
		} {
			began, calls := time.Now(), 0
			_, err := retry.Do(c.ctx, c.policy, func(context.Context) (int, error) { calls++; return 0, c.err })
			if calls != 1 || !errors.Is(err, c.err) || time.Since(began) != 0 {
				t.Errorf("%s: %d calls in %v, %v", name, calls, time.Since(began), err)
			}
		}
	})
}

func TestWaitsForTheRequestedDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began, calls, reported := time.Now(), 0, 0
		_, err := retry.Do(t.Context(), retry.Policy{
			Retryable: func(error) (time.Duration, bool) { return 7 * time.Second, true },
			OnRetry:   func(_ context.Context, attempt int, err error) { reported = attempt; _ = err },
		}, failing(1, &calls))
		if err != nil || time.Since(began) != 7*time.Second || reported != 2 {
			t.Errorf("%v after %v; attempt %d was reported", err, time.Since(began), reported)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		calls, began = 0, time.Now()
		_, err = retry.Do(ctx, retry.Policy{Retryable: func(error) (time.Duration, bool) { return 10 * time.Second, true }}, failing(1, &calls))
		if !errors.Is(err, errDown) || time.Since(began) != time.Second {
			t.Errorf("%v after %v, want the pause to end with its caller", err, time.Since(began))
		}
	})
}

// A service that requests a longer delay than the policy allows gets no retry, also if the caller
// has no deadline.
func TestRequestedDelayIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			limit, requested time.Duration
			calls            int
		}{{0, 10 * time.Second, 2}, {0, 10*time.Second + 1, 1}, {0, 24 * time.Hour, 1}, {time.Hour, time.Hour, 2}, {time.Hour, time.Hour + 1, 1}, {time.Millisecond, time.Second, 1}} {
			began, calls := time.Now(), 0
			budget := retry.NewBudget(0, 1)
			policy := retry.Policy{
				Config: retry.Config{MaxRetryAfter: c.limit}, Budget: budget,
				Retryable: func(error) (time.Duration, bool) { return c.requested, true },
			}
			_, err := retry.Do(t.Context(), policy, failing(1, &calls))
			if took := time.Since(began); calls != c.calls || (err == nil) != (calls == 2) || took != time.Duration(calls-1)*c.requested {
				t.Errorf("%v of at most %v: %d calls in %v, %v", c.requested, c.limit, calls, took, err)
			}
			if budget.Withdraw() == (calls == 2) {
				t.Errorf("%v of at most %v: the budget", c.requested, c.limit)
			}
		}
	})
}

// Successes earn retries: of 10,000 calls that all fail first, a tenth is retried.
func TestBudget(t *testing.T) {
	t.Parallel()
	b := retry.NewBudget(0.1, 10)
	taken := 0
	for b.Withdraw() {
		taken++
	}
	for range 10_000 {
		if b.Succeeded(); b.Withdraw() {
			taken++
		}
	}
	if taken != 10+1000 {
		t.Errorf("%d retries, want the burst of 10 and 1,000", taken)
	}
	for range 10_000 {
		b.Succeeded()
	}
	for taken = 0; b.Withdraw(); taken++ {
	}
	if taken != 10 {
		t.Errorf("%d retries at once, want 10", taken)
	}
	var none *retry.Budget
	if none.Succeeded(); !none.Withdraw() {
		t.Error("no budget is no bound")
	}
}

func TestBudgetIsExactUnderContention(t *testing.T) {
	t.Parallel()
	b := retry.NewBudget(0, 1000)
	var taken atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for b.Withdraw() {
				taken.Add(1)
			}
		})
	}
	all.Wait()
	if taken.Load() != 1000 {
		t.Errorf("%d", taken.Load())
	}
}

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

func TestHedge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			takes  []int // milliseconds; negative: fails after that
			budget *retry.Budget
			calls  int
			wins   int // which call, 0 for none
			after  int64
		}{
			"fast":                    {[]int{50}, nil, 1, 1, 50},
			"second wins":             {[]int{900, 50}, nil, 2, 2, 150},
			"first wins late":         {[]int{120, 900}, nil, 2, 1, 120},
			"third wins":              {[]int{900, 800, 50}, nil, 3, 3, 250},
			"no more than three":      {[]int{400, 900, 900, 1}, nil, 3, 1, 400},
			"no budget":               {[]int{900, 1}, retry.NewBudget(0, 0), 1, 1, 900},
			"fails before the second": {[]int{-50, 1}, nil, 1, 0, 50},
			"a failure waits":         {[]int{-150, 300}, nil, 3, 2, 400},
			"all fail":                {[]int{-300, -120, -20}, nil, 3, 0, 300},
		} {
			var calls atomic.Int64
			began := time.Now()
			got, err := retry.Hedge(t.Context(), 100*time.Millisecond, 3, c.budget, func(ctx context.Context) (int, error) {
				n := int(calls.Add(1))
				takes := 900
				if n <= len(c.takes) {
					takes = c.takes[n-1]
				}
				select {
				case <-time.After(ms(max(takes, -takes))):
				case <-ctx.Done():
					return 0, ctx.Err()
				}
				if takes < 0 {
					return 0, errDown
				}
				return n, nil
			})
			if int(calls.Load()) != c.calls || got != c.wins || (err == nil) != (c.wins > 0) || time.Since(began).Milliseconds() != c.after {
				t.Errorf("%s: %d calls, %d won after %v, %v", name, calls.Load(), got, time.Since(began), err)
			}
			synctest.Wait()
		}
	})
}

func TestHedgeEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ignores := make(chan struct{})
		for _, attempts := range []int{2, 0, -1} {
			_, err := retry.Hedge(ctx, time.Minute, attempts, nil, func(context.Context) (int, error) { <-ignores; return 0, nil })
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Error(attempts, err)
			}
		}
		close(ignores)
	})
}
