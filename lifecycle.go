package chassi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"
)

// run starts the App, serves until ctx is done or a component fails, and stops the App. It
// returns the errors of the components.
func (a *App) run(ctx context.Context) error {
	defer a.state.Store(int32(stopped))
	starts, cancel := context.WithCancel(ctx)
	defer cancel()
	over := make(chan struct{})
	err := a.start(starts, over)
	switch {
	case err == nil:
		err = a.serve(ctx)
	case errors.Is(err, errEnded):
		err = nil
	case ctx.Err() != nil:
		a.options.Logger.Info("stopped during start", "reason", context.Cause(ctx).Error(), "at", err.Error())
		err = nil
	}
	a.state.CompareAndSwap(int32(starting), int32(stopped)) // never was ready
	cancel()
	a.tasks.Wait()
	close(over)
	err = errors.Join(err, a.failed(), a.stop())
	logger := a.options.Logger
	if err != nil {
		logger = logger.With("error", err.Error())
	}
	logger.Info("stopped", "app", a.name, "clean", err == nil)
	return err
}

// watchFailures starts a goroutine that waits for a value from s.Failed until over is closed; the
// value, even nil, stops the App. If s has no method Failed, watchFailures does nothing.
func (a *App) watchFailures(s Component, over <-chan struct{}) {
	breakable, ok := s.(interface{ Failed() <-chan error })
	if !ok {
		return
	}
	var failed <-chan error
	a.contain("Failed of "+s.Name(), func() { failed = breakable.Failed() })
	go func() {
		select {
		case err, ok := <-failed:
			if err != nil {
				a.options.Logger.Error("component failed", "component", s.Name(), "error", err.Error())
				err = fmt.Errorf("%s: %w", s.Name(), err)
			}
			if ok {
				a.fail(err)
			}
		case <-over:
		}
	}()
}

func (a *App) fail(err error) {
	select {
	case a.failure <- err:
	default: // an earlier failure already stops the App
	}
}

// failed returns a failure that has not been received from a.failure yet, or nil.
func (a *App) failed() error {
	select {
	case err := <-a.failure:
		return err
	default:
		return nil
	}
}

// serve makes the App ready. It returns nil when ctx is done and the drain delay has
// passed. If a component fails before that, serve returns the failure at once.
func (a *App) serve(ctx context.Context) error {
	a.state.Store(int32(serving))
	close(a.started)
	a.options.Logger.Info("serving", "app", a.name)
	defer a.state.Store(int32(draining))
	select {
	case <-ctx.Done():
		return a.drain(context.Cause(ctx))
	case err := <-a.failure:
		return err
	}
}

// drain makes readiness fail, calls the Drain methods of the started components, and keeps serving
// for the drain delay, so that load balancers notice. SIGINT skips the delay, because no load balancer
// is involved. drain returns nil after the delay, or the failure of a component at once.
func (a *App) drain(reason error) error {
	a.state.Store(int32(draining))
	delay := a.options.DrainDelay
	if s, ok := errors.AsType[signalError](reason); ok && s.Signal == syscall.SIGINT {
		delay = 0
	}
	a.options.Logger.Info("draining: not ready from now on, a second signal stops at once",
		"reason", reason.Error(), "drain_delay", delay, "grace", a.options.Grace)
	for _, c := range slices.Concat(a.servers, a.managed) {
		if d, ok := c.Component.(interface{ Drain() }); ok && c.up() {
			a.contain("Drain of "+c.name, d.Drain)
		}
	}
	select {
	case <-time.After(delay):
		return nil
	case err := <-a.failure:
		return err
	}
}

// stop stops the started components: first the servers, concurrently, then the other components
// in reverse order. Then it closes the components that were not started. It returns all errors.
func (a *App) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), a.options.Grace)
	defer cancel()
	errs := make([]error, len(a.servers))
	var wg sync.WaitGroup
	for i, c := range a.servers {
		if c.up() {
			wg.Go(func() { errs[i] = a.stopOne(ctx, c) })
		}
	}
	wg.Wait()

	until := time.Now().Add(a.options.Grace)
	for _, c := range slices.Backward(a.managed) {
		if c.up() {
			errs = append(errs, a.stopManaged(until, c))
		}
	}
	return errors.Join(append(errs, a.closeUnstarted())...)
}

// closeUnstarted closes the components that have not started, in reverse order, and returns the errors.
func (a *App) closeUnstarted() error {
	var errs []error
	for _, c := range slices.Backward(slices.Concat(a.managed, a.servers)) {
		if c.up() {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), a.options.Grace)
		if _, err := await(ctx, stopPatience, func(ctx context.Context) error { return closeServer(ctx, c.Component) }); err != nil {
			errs = append(errs, prefixed("close "+c.name, err))
		}
		cancel()
	}
	return errors.Join(errs...)
}

func closeServer(ctx context.Context, s Component) error {
	switch s := s.(type) {
	case *serverFunc:
		if s.start == nil {
			return s.Stop(ctx)
		}
	case interface{ Close() error }:
		return s.Close()
	case interface{ Close() }:
		s.Close()
	}
	return nil
}

// stopManaged stops s. The context of Stop expires at the time until, but not before a second (or
// Grace, if shorter) has passed: a blocked pool must not prevent the last log lines or the orderly
// close of the database.
func (a *App) stopManaged(until time.Time, s Component) error {
	left := max(time.Until(until), min(time.Second, a.options.Grace))
	ctx, cancel := context.WithTimeout(context.Background(), left)
	defer cancel()
	return a.stopOne(ctx, s)
}

// stopPatience is the time that Stop or Close has after the grace period to return an error, which
// may name the abandoned work.
const stopPatience = 100 * time.Millisecond

func (a *App) stopOne(ctx context.Context, s Component) error {
	_, err := await(ctx, stopPatience, s.Stop)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", ErrGrace, err)
	}
	err = prefixed("stop "+s.Name(), err)
	a.options.Logger.Error("stop", append([]any{"component", s.Name(), "error", err.Error()}, stackOf(err)...)...)
	return err
}

// await calls f and returns true and the error of f, or an error if f panics or calls
// runtime.Goexit. If f does not return within grace after ctx is done, await abandons f and
// returns false and an error that wraps ctx.Err().
func await(ctx context.Context, grace time.Duration, f func(context.Context) error) (returned bool, err error) {
	done := make(chan error, 1)
	go func() {
		err := errGoexit
		defer func() {
			if v := recover(); v != nil {
				err = Recovered(v)
			}
			done <- err
		}()
		err = f(ctx)
	}()
	select {
	case err := <-done:
		return true, err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return true, err
	case <-time.After(grace):
		return false, fmt.Errorf("no response: %w", ctx.Err())
	}
}

var errGoexit = errors.New("the goroutine exited before the function returned")
