package transport_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPairs(t *testing.T) {
	t.Parallel()
	var p transport.Pairs
	p.Set("Content-Type", "a")
	p.Set("X-Other", "b")
	p.Set("content-TYPE", "c")
	if len(p) != 2 || p.Get("CONTENT-type") != "c" || p.Get("x-other") != "b" || p.Get("none") != "" || p[0].Key != "Content-Type" {
		t.Errorf("%v", p)
	}
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var p transport.Pairs
		if transport.SetTimeout(t.Context(), &p); len(p) != 0 {
			t.Errorf("%v of a context without an end", p)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		transport.SetTimeout(ctx, &p)
		if d, ok := transport.CallerTimeout(&p); !ok || d != 1500*time.Millisecond {
			t.Errorf("%v, %v", d, ok)
		}
		<-ctx.Done()
		transport.SetTimeout(ctx, &p)
		if d, ok := transport.CallerTimeout(&p); !ok || d != 0 {
			t.Errorf("past its end: %v, %v", d, ok)
		}
	})
	for _, bad := range []string{"", "soon", "-1", "1.5", "99999999999999999999"} {
		p := transport.Pairs{{Key: transport.TimeoutKey, Value: bad}}
		if d, ok := transport.CallerTimeout(&p); ok {
			t.Errorf("%q was read as %v", bad, d)
		}
	}
}

func TestEachCodeHasItsStatus(t *testing.T) {
	t.Parallel()
	for _, code := range chassi.Codes() {
		if status := transport.HTTPStatus(code); status < 400 {
			t.Errorf("%v has %d", code, status)
		}
	}
	if transport.HTTPStatus(99) != 500 || transport.CodeStatus(nil, nil) != 0 || transport.CodeStatus(nil, chassi.NewError(5, "a", "b")) != 5 {
		t.Error("what is no code")
	}
}

func TestInFlight(t *testing.T) {
	t.Parallel()
	var f transport.InFlight
	for _, route := range []string{"a", "b", "a"} {
		if !f.Enter(route) {
			t.Errorf("%s was refused", route)
		}
	}
	if f.Len() != 3 || f.String() != "a (2), b (1)" {
		t.Errorf("%d: %s", f.Len(), &f)
	}
	f.Leave("b")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Close(ctx); err == nil || !strings.Contains(err.Error(), "a (2)") {
		t.Error(err)
	}
	if f.Enter("c") {
		t.Error("entered what is closed")
	}
	done := make(chan error)
	go func() { done <- f.Close(context.Background()) }()
	f.Leave("a")
	f.Leave("a")
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := new(transport.InFlight).Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// All that is taken is done, by no more at once than allowed; what is too much is
// refused.
func TestWorkers(t *testing.T) {
	t.Parallel()
	const most, waiting, callers, each = 4, 8, 8, 500
	var running, highest, done, refused atomic.Int64
	w := transport.NewWorkers(most, waiting, func(int) {
		n := running.Add(1)
		for h := highest.Load(); n > h && !highest.CompareAndSwap(h, n); h = highest.Load() {
		}
		done.Add(1)
		running.Add(-1)
	})
	var submitters sync.WaitGroup
	for range callers {
		submitters.Go(func() {
			for i := range each {
				if !w.Submit(i) {
					refused.Add(1)
				}
			}
		})
	}
	submitters.Wait()
	w.Close()
	if done.Load()+refused.Load() != callers*each || highest.Load() > most || done.Load() == 0 {
		t.Errorf("%d done, %d refused, %d at once", done.Load(), refused.Load(), highest.Load())
	}
}

func TestWorkersRefuseWhatHasNoRoom(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan int), make(chan struct{})
	w := transport.NewWorkers(1, 1, func(i int) { entered <- i; <-leave })
	if first := w.Submit(1); !first || <-entered != 1 {
		t.Error("the first does not run")
	}
	if waits, refused := w.Submit(2), !w.Submit(3); !waits || !refused {
		t.Error("of the next two, one waits and one is refused")
	}
	leave <- struct{}{}
	if second := <-entered; second != 2 {
		t.Errorf("then %d ran", second)
	}
	close(leave)
	w.Close()
	if w.Submit(4) {
		t.Error("one was taken after the end")
	}
}
