package workpool_test

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/chassi-go/chassi/calltrace"
	"github.com/chassi-go/chassi/internal/calltracetest"
	"github.com/chassi-go/chassi/workpool"
	"github.com/google/go-cmp/cmp"
)

// R102: waiting and running of a task are reported apart, and what the task does as a part
// of its run.
func TestTasksAreReported(t *testing.T) {
	t.Parallel()
	p := workpool.New(workpool.Options{Name: "hashing", Workers: 1, Queue: 1})
	var r calltracetest.Recorder
	ctx := r.Context(t.Context())
	do := func(fn func(ctx context.Context) error) error {
		_, err := workpool.Do(ctx, p, func(ctx context.Context) (int, error) { return 0, fn(ctx) })
		return err
	}
	inner := func(ctx context.Context) error {
		_, end := calltrace.From(ctx)(ctx, calltrace.Operation{Name: "inner"})
		end("", "")
		return nil
	}
	if err := do(inner); err != nil {
		t.Fatal(err)
	}
	if err := p.Submit(ctx, func(ctx context.Context) { _ = inner(ctx) }); err != nil {
		t.Fatal(err)
	}
	_ = do(func(context.Context) error { return context.DeadlineExceeded })
	_ = do(func(context.Context) error { return errors.New("canary") })
	_ = do(func(context.Context) error { panic("canary") })
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = do(inner)
	if err := p.TrySubmit(ctx, func(context.Context) {}); !errors.Is(err, workpool.ErrStopped) {
		t.Error(err)
	}
	if err := p.Submit(ctx, func(context.Context) {}); !errors.Is(err, workpool.ErrStopped) {
		t.Error(err)
	}
	got, running := r.Take()
	queue, run := calltrace.Operation{Name: "queue", Target: "hashing"}, calltrace.Operation{Name: "run", Target: "hashing"}
	ran := []calltracetest.Ended{{Operation: queue}, {Operation: calltrace.Operation{Name: "inner"}, Within: "run hashing"}, {Operation: run}}
	want := append(append([]calltracetest.Ended{}, ran...), ran...)
	want = append(want,
		calltracetest.Ended{Operation: queue}, calltracetest.Ended{Operation: run, Failure: "timeout"},
		calltracetest.Ended{Operation: queue}, calltracetest.Ended{Operation: run, Failure: "_OTHER"},
		calltracetest.Ended{Operation: queue}, calltracetest.Ended{Operation: run, Failure: "panic"},
		calltracetest.Ended{Operation: queue, Failure: "stopped"}, calltracetest.Ended{Operation: queue, Failure: "stopped"}, calltracetest.Ended{Operation: queue, Failure: "stopped"},
	)
	if diff := cmp.Diff(want, got); diff != "" || running != 0 {
		t.Errorf("%d running; %s", running, diff)
	}
}

// A task that never runs has waited, and no more.
func TestTasksThatNeverRunAreReported(t *testing.T) {
	t.Parallel()
	p := workpool.New(workpool.Options{Name: "hashing", Workers: 1, Queue: 1})
	open := make(barrier)
	if err := p.TrySubmit(t.Context(), open.task); err != nil {
		t.Fatal(err)
	}
	var r calltracetest.Recorder
	ctx, cancel := context.WithCancel(r.Context(t.Context()))
	gaveUp := make(chan error, 1)
	go func() {
		_, err := workpool.Do(ctx, p, func(context.Context) (int, error) { return 0, nil })
		gaveUp <- err
	}()
	for p.Stats().Queued == 0 {
		runtime.Gosched()
	}
	if err := p.TrySubmit(ctx, open.task); !errors.Is(err, workpool.ErrFull) {
		t.Error(err)
	}
	cancel()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(open)
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"queue hashing: full", "queue hashing: canceled"}, r.Texts()); diff != "" {
		t.Error(diff)
	}
}
