package client

import (
	"context"
	"errors"
	"math/rand/v2"

	"github.com/chassi-go/chassi/breaker"
)

var errGone = errors.New("client: the instance was removed")

// pick selects an instance for one attempt, if possible a usable instance other than
// avoid, and acquires it. The caller must call done with the outcome of the attempt, and
// then t.release. pick returns an error if ctx is done before an instance is known, if all
// instances have been removed, or if the breakers of all instances refuse the call.
func (c *Cluster) pick(ctx context.Context, avoid *target) (t *target, done func(error), err error) {
	targets, err := c.awaitTargets(ctx)
	if err != nil {
		return nil, nil, err
	}
	now := c.now()
	if t = c.choose(targets, avoid, now); t != nil {
		if done, err = t.acquire(now); err == nil {
			return t, done, nil
		}
	}
	return c.acquireAny(now)
}

// awaitTargets returns the instances. It waits for the first result of discovery, and
// returns an error if ctx is done first or all instances have been removed.
func (c *Cluster) awaitTargets(ctx context.Context) ([]*target, error) {
	if targets := *c.targets.Load(); len(targets) > 0 {
		return targets, nil
	}
	select {
	case <-c.known:
	case <-ctx.Done():
	}
	if targets := *c.targets.Load(); len(targets) > 0 {
		return targets, nil
	}
	return nil, errNoInstance.WithCause(ctx.Err())
}

// acquire counts a call to t. It returns an error if t was removed or if the breaker of
// t refuses the call. After the call, done and then release must be called.
func (t *target) acquire(now int64) (done func(error), err error) {
	t.inFlight.Add(1)
	if t.gone.Load() {
		err = errGone
	} else {
		done, err = t.breaker.Allow()
	}
	if err != nil {
		t.release()
		return nil, err
	}
	t.picked.Store(now)
	t.calls.Add(1)
	return done, nil
}

// acquireAny acquires any instance, a usable one if possible. It tries again if all
// instances were removed at the same time, because others have then replaced them. It
// returns an error if there is no instance, or if the breakers refuse the call.
func (c *Cluster) acquireAny(now int64) (t *target, done func(error), err error) {
	for {
		targets := *c.targets.Load()
		if len(targets) == 0 {
			return nil, nil, errNoInstance
		}
		t, done, open := acquireOne(targets, now)
		switch {
		case t != nil:
			return t, done, nil
		case open != nil:
			return nil, nil, errCircuitOpen.WithCause(open).WithRetryAfter(open.RetryAfter)
		}
	}
}

// acquireOne acquires one of targets, beginning at a random one. It tries the usable ones first
// and then all of them, because an ejected instance is better than none. If it acquires none, it
// returns the breaker error with the shortest known wait, or nil if all instances were removed.
func acquireOne(targets []*target, now int64) (t *target, done func(error), open *breaker.OpenError) {
	from := rand.IntN(len(targets))
	for _, onlyUsable := range [...]bool{true, false} {
		for i := range targets {
			t := targets[(from+i)%len(targets)]
			if onlyUsable && !t.usable(now) {
				continue
			}
			done, err := t.acquire(now)
			if err == nil {
				return t, done, nil
			}
			e, ok := errors.AsType[*breaker.OpenError](err)
			if ok && (open == nil || e.RetryAfter > 0 && (open.RetryAfter == 0 || e.RetryAfter < open.RetryAfter)) {
				open = e
			}
		}
	}
	return nil, nil, open
}
