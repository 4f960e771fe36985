package workpool_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi/workpool"
)

func TestStopDrainsAcceptedWorkF32(t *testing.T) {
	inBubble(t, workpool.Options{Workers: 2, Queue: 50}, func(t *testing.T, p *workpool.Pool) {
		var mu sync.Mutex
		ran := 0
		for range 52 {
			err := p.TrySubmit(t.Context(), func(context.Context) {
				time.Sleep(time.Second)
				mu.Lock()
				defer mu.Unlock()
				ran++
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Stop(t.Context()); err != nil || ran != 52 {
			t.Errorf("Stop: %v, with %d of 52 tasks done", err, ran)
		}
		wantStats(t, p, workpool.Stats{Submitted: 52, Completed: 52})
	})
}

func TestStopRejectsNewAndWaitingTasks(t *testing.T) {
	inBubble(t, workpool.Options{Workers: 1, Queue: -1}, func(t *testing.T, p *workpool.Pool) {
		open := make(barrier)
		if err := p.Submit(t.Context(), open.task); err != nil {
			t.Fatal(err)
		}
		waiting := make(chan error, 1)
		go func() { waiting <- p.Submit(t.Context(), open.task) }()
		synctest.Wait()
		stopped := make(chan error, 1)
		go func() { stopped <- p.Stop(t.Context()) }()
		if err := <-waiting; !errors.Is(err, workpool.ErrStopped) {
			t.Errorf("waiting Submit: %v", err)
		}
		_, err := workpool.Do(t.Context(), p, open.call)
		for _, err := range []error{err, p.Submit(t.Context(), open.task), p.TrySubmit(t.Context(), open.task)} {
			if !errors.Is(err, workpool.ErrStopped) {
				t.Errorf("while stopping: %v", err)
			}
		}
		close(open)
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		wantStats(t, p, workpool.Stats{Submitted: 1, Completed: 1, Refused: 4})
	})
}

func TestStopTimeoutReportsRemainingTasks(t *testing.T) {
	inBubble(t, workpool.Options{Name: "mail", Workers: 2, Queue: 5}, func(t *testing.T, p *workpool.Pool) {
		ended := make(chan error, 2)
		for range 2 {
			err := p.Submit(t.Context(), func(ctx context.Context) { <-ctx.Done(); ended <- ctx.Err() })
			if err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if err := p.Submit(t.Context(), func(context.Context) { t.Error("given up work ran") }); err != nil {
				t.Fatal(err)
			}
		}
		queued := goDo(t.Context(), p, func(context.Context) (string, error) { t.Error("given up work ran"); return "", nil })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := p.Stop(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `"mail": stopped with 5 unfinished tasks, 2 running and 3 queued`) {
			t.Errorf("Stop: %v", err)
		}
		if got := <-queued; !errors.Is(got.err, workpool.ErrStopped) {
			t.Errorf("queued caller: %v", got.err)
		}
		for range 2 {
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("running task: %v", err)
			}
		}
		synctest.Wait()
		wantStats(t, p, workpool.Stats{Submitted: 5, Completed: 2, Canceled: 3})
	})
}

func TestStopTwiceAndUnused(t *testing.T) {
	inBubble(t, workpool.Options{}, func(t *testing.T, p *workpool.Pool) {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() {
				if err := p.Stop(ended); err != nil {
					t.Errorf("nothing to drain, yet: %v", err)
				}
			})
		}
		group.Wait()
	})
}
