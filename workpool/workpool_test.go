package workpool_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/workpool"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// barrier is work that waits until it is closed.
type barrier chan struct{}

func (b barrier) task(context.Context) { <-b }

func (b barrier) call(context.Context) (string, error) {
	<-b
	return "done", nil
}

// response is what a Do in another goroutine returned.
type response struct {
	value string
	err   error
}

func goDo(ctx context.Context, p *workpool.Pool, fn func(context.Context) (string, error)) <-chan response {
	c := make(chan response, 1)
	go func() {
		value, err := workpool.Do(ctx, p, fn)
		c <- response{value, err}
	}()
	return c
}

// inBubble runs test on a pool, which it stops, in a synctest bubble: no goroutine is left after it.
func inBubble(t *testing.T, options workpool.Options, test func(*testing.T, *workpool.Pool)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := workpool.New(options)
		test(t, p)
		if err := p.Stop(t.Context()); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
}

func wantStats(t *testing.T, p *workpool.Pool, want workpool.Stats) {
	t.Helper()
	got := p.Stats()
	want.Workers, want.QueueSize = got.Workers, got.QueueSize
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	procs := runtime.GOMAXPROCS(0)
	for _, test := range []struct {
		options        workpool.Options
		workers, queue int
	}{
		{workpool.Options{}, procs, 4 * procs},
		{workpool.Options{Workers: 3}, 3, 12},
		{workpool.Options{Workers: -1, Queue: -1}, procs, 0},
		{workpool.Options{Workers: 2, Queue: 1}, 2, 1},
	} {
		s := workpool.New(test.options).Stats()
		if s.Workers != test.workers || s.QueueSize != test.queue {
			t.Errorf("%+v: %d workers, %d places", test.options, s.Workers, s.QueueSize)
		}
	}
}

func TestDoReturnsTheResult(t *testing.T) {
	inBubble(t, workpool.Options{}, func(t *testing.T, p *workpool.Pool) {
		type key struct{}
		ctx := context.WithValue(t.Context(), key{}, 42)
		failure := errors.New("failure")
		n, err := workpool.Do(ctx, p, func(ctx context.Context) (any, error) { return ctx.Value(key{}), failure })
		if n != 42 || err != failure {
			t.Errorf("%v, %v", n, err)
		}
		wantStats(t, p, workpool.Stats{Submitted: 1, Completed: 1})
	})
}

func TestDoRefusesWhenFullF32(t *testing.T) {
	inBubble(t, workpool.Options{Name: "hash", Workers: 2, Queue: 3}, func(t *testing.T, p *workpool.Pool) {
		open := make(barrier)
		var accepted []<-chan response
		for range 5 {
			accepted = append(accepted, goDo(t.Context(), p, open.call))
		}
		synctest.Wait()
		_, err := workpool.Do(t.Context(), p, open.call)
		if !errors.Is(err, workpool.ErrFull) || !strings.Contains(err.Error(), `"hash"`) {
			t.Errorf("sixth call: %v", err)
		}
		if err := p.TrySubmit(t.Context(), open.task); !errors.Is(err, workpool.ErrFull) {
			t.Errorf("seventh call: %v", err)
		}
		wantStats(t, p, workpool.Stats{Busy: 2, Queued: 3, Submitted: 5, Refused: 2})
		close(open)
		for _, c := range accepted {
			if got := <-c; got != (response{value: "done"}) {
				t.Errorf("accepted call: %+v", got)
			}
		}
		wantStats(t, p, workpool.Stats{Submitted: 5, Completed: 5, Refused: 2})
	})
}

// The place must be free when Do returns, not when a worker comes by.
func TestDoCanceledWhileQueuedFreesItsPlaceT31(t *testing.T) {
	inBubble(t, workpool.Options{Workers: 1, Queue: 1}, func(t *testing.T, p *workpool.Pool) {
		open := make(barrier)
		running := goDo(t.Context(), p, open.call)
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		queued := goDo(ctx, p, func(context.Context) (string, error) {
			t.Error("canceled work ran")
			return "", nil
		})
		synctest.Wait()
		cancel()
		if got := <-queued; !errors.Is(got.err, context.Canceled) || got.value != "" {
			t.Errorf("canceled call: %+v", got)
		}
		wantStats(t, p, workpool.Stats{Busy: 1, Submitted: 2, Canceled: 1})
		next := goDo(t.Context(), p, open.call)
		synctest.Wait()
		wantStats(t, p, workpool.Stats{Busy: 1, Queued: 1, Submitted: 3, Canceled: 1})
		close(open)
		if a, b := <-running, <-next; a.err != nil || b.err != nil {
			t.Errorf("others: %v, %v", a.err, b.err)
		}
	})
}

func TestDoCanceledInTheMiddleOfTheQueue(t *testing.T) {
	inBubble(t, workpool.Options{Workers: 1, Queue: 5}, func(t *testing.T, p *workpool.Pool) {
		open := make(barrier)
		goDo(t.Context(), p, open.call)
		synctest.Wait()
		order := make(chan int, 5)
		var cancels [5]context.CancelFunc
		for i := range 5 {
			ctx, cancel := context.WithCancel(t.Context())
			cancels[i] = cancel
			goDo(ctx, p, func(context.Context) (string, error) { order <- i; return "", nil })
			synctest.Wait()
		}
		for _, i := range []int{2, 4, 0} { // middle, end, start
			cancels[i]()
			synctest.Wait()
		}
		wantStats(t, p, workpool.Stats{Busy: 1, Queued: 2, Submitted: 6, Canceled: 3})
		close(open)
		if a, b := <-order, <-order; a != 1 || b != 3 {
			t.Errorf("ran %d, then %d; want 1, then 3", a, b)
		}
		cancels[1]()
		cancels[3]()
	})
}

func TestDoCanceledWhileRunningReturnsAtOnce(t *testing.T) {
	inBubble(t, workpool.Options{Workers: 1, Queue: -1}, func(t *testing.T, p *workpool.Pool) {
		open := make(barrier)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		value, err := workpool.Do(ctx, p, open.call)
		if !errors.Is(err, context.DeadlineExceeded) || value != "" || time.Since(start) != time.Second {
			t.Errorf("%q, %v after %v", value, err, time.Since(start))
		}
		// The worker continues, so no other one starts.
		wantStats(t, p, workpool.Stats{Busy: 1, Submitted: 1})
		if _, err := workpool.Do(t.Context(), p, open.call); !errors.Is(err, workpool.ErrFull) {
			t.Errorf("beside a worker that goes on: %v", err)
		}
		close(open)
	})
}

func TestDoWithAnEndedContext(t *testing.T) {
	inBubble(t, workpool.Options{}, func(t *testing.T, p *workpool.Pool) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := workpool.Do(ctx, p, func(context.Context) (int, error) { t.Error("ran"); return 0, nil })
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := p.Submit(ctx, func(context.Context) { t.Error("ran") }); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		wantStats(t, p, workpool.Stats{Refused: 2})
	})
}

// Tasks that are submitted together run on all workers, although only one worker is woken
// at a time.
func TestWorkersWakeEachOther(t *testing.T) {
	inBubble(t, workpool.Options{Workers: 3, Queue: 10}, func(t *testing.T, p *workpool.Pool) {
		for round := range 2 { // the second with idle workers
			open, running := make(barrier), make(chan struct{}, 10)
			for range 5 {
				err := p.TrySubmit(t.Context(), func(context.Context) { running <- struct{}{}; <-open })
				if err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			if n := len(running); n != 3 {
				t.Errorf("round %d: %d tasks run at once, want 3", round, n)
			}
			close(open)
			synctest.Wait()
		}
	})
}

// A caller finds the worker free that served it a moment ago.
func TestDoInSequenceNeverMeetsItself(t *testing.T) {
	t.Parallel()
	p := workpool.New(workpool.Options{Workers: 1, Queue: -1})
	for i := range 10_000 {
		if _, err := workpool.Do(t.Context(), p, func(context.Context) (int, error) { return i, nil }); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSubmitWaitsForAPlaceF32(t *testing.T) {
	for name, queue := range map[string]int{"with a queue": 1, "without": -1} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, workpool.Options{Workers: 1, Queue: queue}, func(t *testing.T, p *workpool.Pool) {
				order := make(chan int, 10)
				start := time.Now()
				for i := range 4 {
					err := p.Submit(t.Context(), func(context.Context) {
						time.Sleep(time.Second)
						order <- i
					})
					if err != nil {
						t.Fatal(err)
					}
				}
				if got, want := time.Since(start), time.Duration(3-max(queue, 0))*time.Second; got != want {
					t.Errorf("waited %v for places, want %v", got, want)
				}
				for want := range 4 {
					if got := <-order; got != want {
						t.Errorf("task %d ran as number %d", got, want)
					}
				}
			})
		})
	}
}

func TestSubmitStopsWaitingWithItsContext(t *testing.T) {
	inBubble(t, workpool.Options{Workers: 1, Queue: -1}, func(t *testing.T, p *workpool.Pool) {
		open := make(barrier)
		if err := p.Submit(t.Context(), open.task); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Submit(ctx, func(context.Context) { t.Error("ran") }); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		close(open)
		synctest.Wait()
		wantStats(t, p, workpool.Stats{Submitted: 1, Completed: 1, Refused: 1})
	})
}

// A waiting Submit gets the place that a canceled Do gave up, before a TrySubmit that comes later.
func TestSubmitGetsThePlaceOfACanceledDo(t *testing.T) {
	inBubble(t, workpool.Options{Workers: 1, Queue: 1}, func(t *testing.T, p *workpool.Pool) {
		open := make(barrier)
		goDo(t.Context(), p, open.call)
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		queued := goDo(ctx, p, open.call)
		synctest.Wait()
		submitted := make(chan error, 1)
		go func() { submitted <- p.Submit(t.Context(), open.task) }()
		synctest.Wait()
		cancel()
		<-queued
		if err := p.TrySubmit(t.Context(), open.task); !errors.Is(err, workpool.ErrFull) {
			t.Errorf("TrySubmit passed the one who waited: %v", err)
		}
		if err := <-submitted; err != nil {
			t.Error(err)
		}
		close(open)
	})
}

func TestSubmittedWorkOutlivesItsCaller(t *testing.T) {
	inBubble(t, workpool.Options{}, func(t *testing.T, p *workpool.Pool) {
		type key struct{}
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "trace"))
		open := make(barrier)
		got := make(chan string, 1)
		err := p.Submit(ctx, func(ctx context.Context) {
			<-open
			got <- fmt.Sprint(ctx.Value(key{}), ctx.Err())
		})
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		close(open)
		if got := <-got; got != "trace<nil>" {
			t.Errorf("in the task: %s", got)
		}
	})
}

func Example() {
	pool := workpool.New(workpool.Options{Name: "hashing", Workers: 2, Queue: 8})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	sum, err := workpool.Do(ctx, pool, func(context.Context) (int, error) {
		return 6 * 7, nil
	})
	fmt.Println(sum, err)
	fmt.Println(pool.Stop(ctx))
	// Output:
	// 42 <nil>
	// <nil>
}
