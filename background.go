package chassi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// ExitPolicy is the action to take when the function of a [Background] component returns or
// panics before the component is stopped.
type ExitPolicy int

// The exit policies.
const (
	// StopOnExit stops the App. [App.Run] returns the function's error.
	StopOnExit ExitPolicy = iota
	// RestartOnExit calls the function again after one second; the delay doubles with each call
	// that ends within a minute, up to one minute. After an exit the component's check fails until
	// the function has run for a minute, unless the code of the function's error is [Unavailable]
	// or [DeadlineExceeded], which means that a dependency with its own check has failed.
	RestartOnExit
	// IgnoreExit only logs that the function has returned, with its error.
	IgnoreExit
)

// The minimum and the maximum delay before a function is called again.
const (
	minRestartPause = time.Second
	maxRestartPause = time.Minute
)

// Background returns a component that calls run in a goroutine when the component is started.
// The context of run is canceled when the component is stopped; run must then return promptly.
// Stop returns the error that run then returns, except [context.Canceled], or another error if
// run has not returned when the context of Stop is done. OnExit is the action to take if run
// returns before the component is stopped. A panic of run is recovered and treated as an error.
//
// Added with [App.Add], the component stops after all servers, and before the components
// that were added before it.
func Background(name string, onExit ExitPolicy, run func(ctx context.Context) error) Component {
	b := &background{name: name, onExit: onExit, run: run, logger: slog.Default(), failed: make(chan error, 1)}
	if onExit == RestartOnExit {
		return restarted{b}
	}
	return b
}

type background struct {
	name    string
	onExit  ExitPolicy
	run     func(context.Context) error
	logger  *slog.Logger // slog.Default(), or that of the App to which the component was added
	cancel  context.CancelFunc
	stopped chan struct{}
	failed  chan error

	mu     sync.Mutex
	err    error // the latest failure, until run has run for a minute
	result error // error that run returned after the component was stopped
}

func (b *background) Name() string { return b.name }

func (b *background) Start(context.Context) error {
	if b.run == nil {
		return fmt.Errorf("chassi: the background component %s has no function", b.name)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel, b.stopped = cancel, make(chan struct{})
	go b.supervise(ctx)
	return nil
}

// supervise calls run until the component is stopped, or until run has returned and must
// not be called again.
func (b *background) supervise(ctx context.Context) {
	defer close(b.stopped)
	for pause := minRestartPause; ; pause = min(2*pause, maxRestartPause) {
		began := time.Now()
		healthy := time.AfterFunc(maxRestartPause, func() { b.setErr(nil) })
		err := b.call(ctx)
		healthy.Stop()
		if ctx.Err() != nil {
			b.end(err)
			return
		}
		b.logExit(ctx, err)
		if b.onExit != RestartOnExit {
			break
		}
		if time.Since(began) > maxRestartPause {
			pause = minRestartPause
		}
		if !ofDependency(err) {
			b.setErr(exitError(err))
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// ofDependency reports whether err means that a dependency has failed.
func ofDependency(err error) bool {
	e := ErrorOf(err)
	return e != nil && (e.Code == Unavailable || e.Code == DeadlineExceeded)
}

// exitError returns err, or, if err is nil, an error that reports that the function has returned.
func exitError(err error) error {
	if err == nil {
		return errors.New("the function returned before the component was stopped")
	}
	return err
}

func (b *background) call(ctx context.Context) (err error) {
	done := make(chan error, 1)
	go func() { // runtime.Goexit ends this goroutine, and not the supervision
		result := errGoexit
		defer func() {
			if p := Recovered(recover()); p != nil {
				result = p
			}
			done <- result
		}()
		result = b.run(ctx)
	}()
	return <-done
}

// end records err, which run returned after the stop, unless it is [context.Canceled].
func (b *background) end(err error) {
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.result = err
}

func (b *background) logExit(ctx context.Context, err error) {
	if err == nil {
		b.logger.InfoContext(ctx, "background component returned", "component", b.name)
	} else {
		level := slog.LevelError
		if b.onExit == RestartOnExit && ofDependency(err) {
			level = slog.LevelWarn
		}
		b.logger.Log(ctx, level, "background component failed", append([]any{"component", b.name, "error", err.Error()}, stackOf(err)...)...)
	}
	if b.onExit == StopOnExit {
		b.failed <- err
	}
}

func (b *background) setErr(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *background) logTo(logger *slog.Logger) { b.logger = logger }

// restarted is a [Background] component with the policy [RestartOnExit]. Unlike components
// with other policies, it has a check, which reports the failures of the function.
type restarted struct{ *background }

// Check returns the latest failure of the function, other than a failure of a dependency, or nil
// if the function has since run for a minute.
func (r restarted) Check(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// LogsOutage returns true, because the component itself logs each failure when it happens.
func (restarted) LogsOutage() bool { return true }

func (b *background) Failed() <-chan error { return b.failed }

func (b *background) Stop(ctx context.Context) error {
	b.cancel()
	select {
	case <-b.stopped:
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.result
	case <-ctx.Done():
		return fmt.Errorf("the function has not returned: %w", ctx.Err())
	}
}
