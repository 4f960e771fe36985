package workpool_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/workpool"
)

func TestDoReturnsThePanic(t *testing.T) {
	told := 0
	options := workpool.Options{Workers: 1, OnPanic: func(context.Context, any, []byte) { told++ }}
	inBubble(t, options, func(t *testing.T, p *workpool.Pool) {
		known := errors.New("known")
		_, err := workpool.Do(t.Context(), p, func(context.Context) (int, error) { panic(known) })
		var panicked *chassi.PanicError
		if !errors.As(err, &panicked) || panicked.Value != known {
			t.Fatalf("%#v", err)
		}
		if errors.Is(err, known) || chassi.ErrorOf(err).Code != chassi.Internal {
			t.Errorf("%v: want an internal error that is not the one it panicked with", err)
		}
		if !strings.Contains(string(panicked.Stack), "TestDoReturnsThePanic") {
			t.Errorf("stack without the place of the panic:\n%s", panicked.Stack)
		}
		if told != 0 {
			t.Error("OnPanic was told what the caller was told")
		}
		if n, err := workpool.Do(t.Context(), p, func(context.Context) (int, error) { return 7, nil }); n != 7 || err != nil {
			t.Errorf("after the panic: %d, %v", n, err)
		}
		wantStats(t, p, workpool.Stats{Submitted: 2, Completed: 1, Panics: 1})
	})
}

// Every way out of a task other than return, on the only worker, with work behind it.
func TestT49WorkGoesOnAfterAPanic(t *testing.T) {
	type report struct{ value, stack string }
	told := make(chan report, 10)
	options := workpool.Options{Workers: 1, Queue: 9, OnPanic: func(_ context.Context, v any, stack []byte) {
		text, ok := v.(string)
		if !ok {
			text = "nil"
		}
		told <- report{text, string(stack)}
		panic("in OnPanic")
	}}
	inBubble(t, options, func(t *testing.T, p *workpool.Pool) {
		open := make(barrier)
		ran := false
		for _, task := range []func(context.Context){
			open.task,
			func(context.Context) { panic("first") },
			func(context.Context) { runtime.Goexit() },
			func(context.Context) { panic(nil) },
			func(context.Context) { ran = true },
		} {
			if err := p.TrySubmit(t.Context(), task); err != nil {
				t.Fatal(err)
			}
		}
		close(open)
		synctest.Wait()
		for _, want := range []string{"first", "runtime.Goexit", "nil"} {
			if got := <-told; got.value != want || !strings.Contains(got.stack, "TestT49WorkGoesOnAfterAPanic") {
				t.Errorf("told %q with stack\n%s\nwant %q", got.value, got.stack, want)
			}
		}
		if !ran {
			t.Error("the work behind the panics did not run")
		}
		wantStats(t, p, workpool.Stats{Submitted: 5, Completed: 2, Panics: 3})
	})
}

func TestOnPanicIsCalledForAbsentCallers(t *testing.T) {
	told := make(chan any, 1)
	options := workpool.Options{OnPanic: func(_ context.Context, v any, _ []byte) { told <- v }}
	inBubble(t, options, func(t *testing.T, p *workpool.Pool) {
		ctx, cancel := context.WithCancel(t.Context())
		open := make(barrier)
		left := goDo(ctx, p, func(context.Context) (string, error) { <-open; panic("late") })
		synctest.Wait()
		cancel()
		if got := <-left; !errors.Is(got.err, context.Canceled) {
			t.Errorf("%+v", got)
		}
		close(open)
		if v := <-told; v != "late" {
			t.Errorf("told %v", v)
		}
	})
}

func TestDoThatExitsItsGoroutine(t *testing.T) {
	inBubble(t, workpool.Options{}, func(t *testing.T, p *workpool.Pool) {
		_, err := workpool.Do(t.Context(), p, func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
		if _, ok := errors.AsType[*chassi.PanicError](err); !ok {
			t.Errorf("%v, want a PanicError", err)
		}
	})
}
