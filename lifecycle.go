package chassi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// run is one whole life.
func (a *App) run(ctx context.Context) error {
	defer a.state.Store(int32(stopped))
	starts, cancel := context.WithCancel(ctx)
	defer cancel()
	over := make(chan struct{})
	err := a.start(starts, over)
	switch {
	case err == nil:
		err = a.serve(ctx)
	case ctx.Err() != nil:
		a.options.Logger.Info("stopped during start", "reason", context.Cause(ctx).Error(), "at", err.Error())
		err = nil
	}
	a.state.CompareAndSwap(int32(starting), int32(stopped)) // never was ready
	cancel()
	a.tasks.Wait()
	close(over)
	err = errors.Join(err, a.failed(), a.stop())
	a.options.Logger.Info("stopped", "app", a.name, "clean", err == nil)
	return err
}

// watchFailures waits for the failure of a server that can tell one, until over.
func (a *App) watchFailures(s Server, over <-chan struct{}) {
	breakable, ok := s.(interface{ Failed() <-chan error })
	if !ok {
		return
	}
	failed := breakable.Failed()
	go func() {
		select {
		case err := <-failed:
			if err != nil {
				a.options.Logger.Error("a server failed", "server", s.Name(), "error", err.Error())
				a.fail(fmt.Errorf("%s: %w", s.Name(), err))
			}
		case <-over:
		}
	}()
}

func (a *App) fail(err error) {
	select {
	case a.failure <- err:
	default: // the first failure is already bringing everything down
	}
}

// failed returns the first failure so far, nil for none.
func (a *App) failed() error {
	select {
	case err := <-a.failure:
		return err
	default:
		return nil
	}
}

// serve lasts until the end of ctx and the drain delay after it. The failure of
// a server ends either at once and is returned.
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

// drain says no to readiness and keeps serving for the delay.
func (a *App) drain(reason error) error {
	a.state.Store(int32(draining))
	a.options.Logger.Info("draining: not ready from now on, a second signal stops at once",
		"reason", reason.Error(), "drain_delay", a.options.DrainDelay, "grace", a.options.Grace)
	for _, c := range a.servers {
		if d, ok := c.Server.(interface{ Drain() }); ok && c.up() {
			a.drainOne(c.name, d.Drain)
		}
	}
	select {
	case <-time.After(a.options.DrainDelay):
		return nil
	case err := <-a.failure:
		return err
	}
}

func (a *App) drainOne(name string, drain func()) {
	defer func() {
		if err := Recovered(recover()); err != nil {
			a.options.Logger.Error("drain", "server", name, "error", err.Error())
		}
	}()
	drain()
}

// stop stops, of those that are up, the servers of Serve together, then the others in
// reverse.
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
	return errors.Join(errs...)
}

// stopManaged leaves s a second even if one before it used up the grace period:
// a stuck pool must not cost the last log lines or a clean end of the database.
func (a *App) stopManaged(until time.Time, s Server) error {
	left := max(time.Until(until), min(time.Second, a.options.Grace))
	ctx, cancel := context.WithTimeout(context.Background(), left)
	defer cancel()
	return a.stopOne(ctx, s)
}

// stopPatience is what a Stop gets, past the end of its context, to name what it
// gives up.
const stopPatience = 100 * time.Millisecond

func (a *App) stopOne(ctx context.Context, s Server) error {
	_, err := await(ctx, stopPatience, s.Stop)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		err = fmt.Errorf("stop %s: %w: %w", s.Name(), ErrGrace, err)
	default:
		err = fmt.Errorf("stop %s: %w", s.Name(), err)
	}
	a.options.Logger.Error("stop", "server", s.Name(), "error", err.Error())
	return err
}

// await calls f and contains its panic. When f goes on for longer than patience
// past the end of ctx, await leaves it behind, says so, and returns ctx's error.
func await(ctx context.Context, patience time.Duration, f func(context.Context) error) (returned bool, err error) {
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
	case <-time.After(patience):
		return false, fmt.Errorf("no answer: %w", ctx.Err())
	}
}

var errGoexit = errors.New("the goroutine exited without an answer")
