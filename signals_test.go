package chassi

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Two signals of one kind within an instant are one, sent to the process and to its group;
// later, or of another kind, the second one forces the end.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		first, second os.Signal
		after         time.Duration
		forced        bool
	}{
		"at once":               {syscall.SIGTERM, syscall.SIGTERM, 0, false},
		"after milliseconds":    {syscall.SIGINT, syscall.SIGINT, sameSignal - 1, false},
		"pressed again":         {syscall.SIGINT, syscall.SIGINT, sameSignal, true},
		"of another kind":       {syscall.SIGTERM, syscall.SIGINT, 0, true},
		"hangup after":          {syscall.SIGTERM, syscall.SIGHUP, time.Hour, false},
		"after a hangup":        {syscall.SIGHUP, syscall.SIGTERM, time.Hour, false},
		"two hangups":           {syscall.SIGHUP, syscall.SIGHUP, time.Hour, false},
		"after a second hangup": {syscall.SIGHUP, syscall.SIGHUP, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				app := NewApp("test", AppOptions{Logger: slog.New(slog.DiscardHandler)})
				signals, forced, finished := make(chan os.Signal), make(chan struct{}), make(chan struct{})
				ctx, stop := context.WithCancelCause(t.Context())
				defer stop(nil)
				go app.watchSignals(signals, stop, forced, finished)
				signals <- c.first
				synctest.Wait()
				if reason := context.Cause(ctx); !errors.Is(reason, signalError{c.first}) {
					t.Errorf("stopped because of %v", reason)
				}
				time.Sleep(c.after)
				signals <- c.second
				synctest.Wait()
				select {
				case <-forced:
					if !c.forced {
						t.Error("the second signal forced the end")
					}
				default:
					if c.forced {
						t.Error("the second signal did not force the end")
					}
				}
				close(finished)
			})
		})
	}
}

// SIGHUP calls every function given to OnHangup, in order.
func TestHangupCallsEveryFunction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		app := NewApp("test", AppOptions{Logger: slog.New(slog.DiscardHandler)})
		var calls string
		for _, name := range []string{"a", "b", "c"} {
			app.OnHangup(func() {
				if calls += name; name == "b" {
					panic("in the function")
				}
			})
		}
		signals, finished := make(chan os.Signal), make(chan struct{})
		go app.watchSignals(signals, func(error) { t.Error("the App stops") }, nil, finished)
		signals <- syscall.SIGHUP
		if synctest.Wait(); calls != "abc" {
			t.Errorf("called %q, want abc", calls)
		}
		close(finished)
	})
}

// A panic of the function given to OnHangup ends that call of it and nothing else.
func TestPanicInOnHangup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		app, calls := NewApp("test", AppOptions{Logger: slog.New(slog.DiscardHandler)}), 0
		app.OnHangup(func() { calls++; panic("in the function") })
		signals, finished := make(chan os.Signal), make(chan struct{})
		go app.watchSignals(signals, func(error) { t.Error("the App stops") }, nil, finished)
		for want := range 2 {
			signals <- syscall.SIGHUP
			if synctest.Wait(); calls != want+1 {
				t.Errorf("%d calls, want %d", calls, want+1)
			}
		}
		close(finished)
	})
}
