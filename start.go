package chassi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// attemptTimeout is the timeout of one Start, so that the start is retried if a dependency
	// does not respond.
	attemptTimeout     = time.Minute
	minPause, maxPause = 100 * time.Millisecond, 5 * time.Second // between attempts
	// optionalTime is the maximum time to wait for the first attempts of optional components.
	optionalTime = 5 * time.Second
)

// errEnded is the error of start if a component stops the App without an error.
var errEnded = errors.New("a component has ended")

// start starts all components and returns nil when the App may serve. It returns an error if a component
// fails or ends or StartTimeout passes first, or the errors of holdUps, if any, if ctx is done first.
func (a *App) start(ctx context.Context, over <-chan struct{}) error {
	up := make(chan struct{})
	a.tasks.Go(func() {
		if a.startAll(ctx, over) {
			close(up)
		}
	})
	var timeout <-chan time.Time
	if a.options.StartTimeout > 0 {
		timeout = time.After(a.options.StartTimeout)
	}
	select {
	case <-up:
		return nil
	case err := <-a.failure:
		return cmp.Or(err, errEnded)
	case <-ctx.Done():
		return errors.Join(a.holdUps(ctx.Err())...)
	case <-timeout:
		errs := a.holdUps(context.DeadlineExceeded)
		if len(errs) == 0 {
			errs = append(errs, errors.New("the first attempt of an optional component has not ended"))
		}
		return fmt.Errorf("the App has not started within %v: %w", a.options.StartTimeout, errors.Join(errs...))
	}
}

// holdUps returns an error for each required component whose start has begun but not succeeded: the
// latest error of its Start, or noResponse if Start has not returned.
func (a *App) holdUps(noResponse error) (errs []error) {
	for _, c := range a.all {
		switch r := c.pending.Load(); {
		case r == nil || c.optional || r.Detail != "":
		case r.Err != nil:
			errs = append(errs, prefixed("start "+c.name, r.Err))
		default:
			errs = append(errs, fmt.Errorf("start %s: Start has not returned: %w", c.name, noResponse))
		}
	}
	return errs
}

// startAll starts all components, and reports whether those that are not optional have started.
func (a *App) startAll(ctx context.Context, over <-chan struct{}) bool {
	var required, optional sync.WaitGroup // the optional ones until their first attempt
	launch := func(c *component) {
		if !c.optional {
			required.Go(func() { a.startOne(ctx, c, over, func() {}) })
			return
		}
		optional.Add(1)
		a.tasks.Go(func() { a.startOne(ctx, c, over, sync.OnceFunc(optional.Done)) })
	}
	missing := func(c *component) bool { return !c.optional && !c.up() }
	for _, c := range a.managed {
		launch(c)
		if required.Wait(); missing(c) {
			return false
		}
	}
	a.tasks.Go(func() { a.watchHealth(ctx) })
	for _, c := range a.servers {
		launch(c)
	}
	required.Wait()
	tried := make(chan struct{})
	a.tasks.Go(func() { optional.Wait(); close(tried) })
	select {
	case <-tried:
	case <-time.After(optionalTime):
	case <-ctx.Done():
	}
	return !slices.ContainsFunc(a.servers, missing)
}

// startOne starts c, and retries while c is unavailable, until ctx is done. Any other error of Start
// stops the App. After the first attempt, startOne calls tried.
func (a *App) startOne(ctx context.Context, c *component, over <-chan struct{}, tried func()) {
	defer tried()
	c.pending.Store(&CheckResult{Name: c.name, Status: starting.String()})
	for pause := minPause; ctx.Err() == nil; pause = min(2*pause, maxPause) {
		err := a.attempt(ctx, c)
		switch {
		case err == nil:
			a.note(c, CheckResult{})
			a.watchFailures(c.Component, over)
			a.markUp(c)
			return
		case ctx.Err() != nil && !errors.Is(err, ErrGrace):
			return // interrupted
		case ErrorOf(err).Code != Unavailable:
			if stack := stackOf(err); stack != nil {
				a.options.Logger.Error("panic", append([]any{"in", "Start of " + c.name, "error", err.Error()}, stack...)...)
			}
			a.fail(prefixed("start "+c.name, err))
			return
		}
		r := c.result(err)
		if !c.optional {
			r.Status = starting.String()
		}
		c.pending.Store(&r)
		a.note(c, r)
		tried()
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// attempt calls Start of c once, with the timeout attemptTimeout. It returns the error of Start, or
// an [Unavailable] error if Start failed because of that timeout. When its context is done,
// Start has the grace period to undo what it did. If Start has not returned by then, attempt
// abandons it and returns an error that wraps [ErrGrace].
func (a *App) attempt(ctx context.Context, c *component) error {
	limited, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	returned, err := await(limited, a.options.Grace, c.Start)
	switch {
	case !returned:
		return fmt.Errorf("%w: Start was abandoned: %w", ErrGrace, err)
	case err != nil && limited.Err() != nil && ctx.Err() == nil:
		return NewError(Unavailable, "no_response", fmt.Sprintf("No response within %v", attemptTimeout)).WithCause(err)
	}
	return err
}

// prefixed returns err with prefix before its text, or before that of each error that err joins.
func prefixed(prefix string, err error) (joined error) {
	list, ok := err.(interface{ Unwrap() []error })
	if !ok || fmt.Sprint(errors.Join(list.Unwrap()...)) != err.Error() {
		return fmt.Errorf("%s: %w", prefix, err)
	}
	for _, err := range list.Unwrap() {
		joined = errors.Join(joined, prefixed(prefix, err))
	}
	return joined
}
