package chassi

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// sameSignal is the time after the first signal during which the same signal is ignored: a
// terminal or a supervisor may send the signal to the process and to its group. It is
// shorter than the interval between two key presses.
const sameSignal = 200 * time.Millisecond

// signalError is the cause of a shutdown by a signal.
type signalError struct{ os.Signal }

func (s signalError) Error() string { return "signal " + s.String() }

// handleSignals starts a goroutine that handles signals, and returns the function that ends it.
// The first SIGTERM or SIGINT calls stop, and the second one closes forced; for SIGHUP see [App].
func (a *App) handleSignals(stop context.CancelCauseFunc, forced chan<- struct{}) (end func()) {
	signals := make(chan os.Signal, 8)
	signal.Ignore(syscall.SIGPIPE) // otherwise the exit of a log reader would end the program
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	if len(a.hangup) > 0 || !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	finished := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() { a.watchSignals(signals, stop, forced, finished) })
	return func() {
		signal.Stop(signals)
		close(finished)
		watcher.Wait()
	}
}

// hungUp calls the functions added by OnHangup, unless the App has stopped.
func (a *App) hungUp(finished <-chan struct{}) {
	select {
	case <-finished:
	default:
		for _, f := range a.hangup {
			a.contain("hangup", f)
		}
	}
}

func (a *App) watchSignals(signals <-chan os.Signal, stop context.CancelCauseFunc, forced chan<- struct{}, finished <-chan struct{}) {
	hangups := make(chan struct{}, 1)
	calls := make(chan struct{})
	go func() {
		defer close(calls)
		for range hangups {
			a.hungUp(finished)
		}
	}()
	patience := a.options.Grace
	defer func() {
		close(hangups)
		select {
		case <-calls:
		case <-time.After(patience):
		}
	}()
	var first os.Signal
	var at time.Time
	for {
		select {
		case s := <-signals:
			switch {
			case s == syscall.SIGHUP && len(a.hangup) > 0:
				select {
				case hangups <- struct{}{}:
				default: // the pending call covers this signal too
				}
			case s == syscall.SIGHUP:
				stop(signalError{s})
			case first == nil:
				first, at = s, time.Now()
				stop(signalError{s})
			case s == first && time.Since(at) < sameSignal:
			default:
				a.options.Logger.Warn("second signal: stopping at once", "signal", s.String())
				patience = 0
				close(forced)
				return
			}
		case <-finished:
			return
		}
	}
}

// contain calls f, which is user code, and recovers and logs its panic. The parameter name
// is the name of f in the log.
func (a *App) contain(name string, f func()) {
	defer func() {
		if err := Recovered(recover()); err != nil {
			a.options.Logger.Error("panic", append([]any{"in", name, "error", err}, stackOf(err)...)...)
		}
	}()
	f()
}
