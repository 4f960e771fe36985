package client

import (
	"context"
	"errors"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
)

// stream opens a stream and receives its items. Timeout, bulkhead and retries apply until it is
// open. It is not hedged.
func (m *clusterMethod) stream(ctx context.Context, call *chassi.Call) error {
	c := m.cluster
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if c.inFlight.Add(1) > int64(c.policy.MaxInFlight) {
		c.inFlight.Add(-1)
		c.bulkheadFull.Add(1)
		return errBulkheadFull
	}
	timer := time.AfterFunc(c.policy.Timeout, func() { cancel(context.DeadlineExceeded) })
	opened := func() {
		timer.Stop()
		c.inFlight.Add(-1)
	}
	call.Stream.OnOpen(opened)
	defer func() {
		if !call.Stream.Opened() {
			opened()
		}
	}()
	err := m.opened(ctx, call)
	if context.Cause(ctx) == context.DeadlineExceeded && chassi.ErrorOf(err).Code == chassi.Canceled { //nolint:errorlint // the timer's
		return chassi.ErrorOf(context.DeadlineExceeded).WithCause(err)
	}
	return err
}

// opened makes attempts until one opens the stream or no further one is allowed, and returns the
// end of the stream.
func (m *clusterMethod) opened(ctx context.Context, call *chassi.Call) error {
	c := m.cluster
	var last *target
	for n := 1; ; n++ {
		t, done, err := c.pick(ctx, last)
		if err != nil {
			return err
		}
		err = m.streamFrom(ctx, call, t, done)
		if err == nil || call.Stream.Opened() || !m.repeatable || !c.retry.Next(ctx, n, err) {
			return err
		}
		c.retries.Add(1)
		if out, ok := call.Out.(*transport.Pairs); ok {
			*out = (*out)[:0]
		}
		last = t
	}
}

// streamFrom opens the stream at an instance that pick returned, and counts it as in flight there
// until its end. The outcome of the opening is recorded, and a stream that broke off later as a
// failure.
func (m *clusterMethod) streamFrom(ctx context.Context, call *chassi.Call, t *target, done func(error)) (err error) {
	defer t.release()
	c := m.cluster
	began, method, recorded := c.now(), (*t.methods.Load())[m.index], false
	record := func(err error) {
		if recorded { // the attempt failed, and another one opened the stream
			return
		}
		recorded = true
		if err == nil {
			c.budget.Succeeded()
		}
		t.ended(method, began, err, done)
	}
	call.Stream.OnOpen(func() { record(nil) })
	err = errPanicked
	defer func() {
		switch {
		case !recorded:
			record(err)
		case errors.Is(err, transport.ErrTruncated), errors.Is(err, transport.ErrSilent):
			t.broken()
		}
	}()
	err = method.call(ctx, call)
	return err
}

// broken records the failure of a call that had succeeded before.
func (t *target) broken() {
	t.failures.Add(1)
	if t.row.Add(1) >= int64(t.cluster.policy.Eject.Consecutive) {
		t.cluster.eject(t, t.cluster.now())
	}
}
