package client

import (
	"context"
	"errors"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/timeout"
	"github.com/chassi-go/chassi/transport"
)

// stream opens a stream and receives its items. Timeout, bulkhead and retries apply until the
// stream is open. Streams are not hedged.
func (m *clusterMethod) stream(ctx context.Context, call *chassi.Call) error {
	c := m.cluster
	if c.inFlight.Add(1) > int64(c.policy.MaxInFlight) {
		c.inFlight.Add(-1)
		c.bulkheadFull.Add(1)
		return errBulkheadFull
	}
	opened := func() { c.inFlight.Add(-1) }
	call.Stream.OnOpen(opened)
	defer func() {
		if !call.Stream.Opened() {
			opened()
		}
	}()
	opening := timeout.With(ctx, c.policy.Timeout)
	defer opening.End()
	return untilOpen(ctx, call, c.policy.Timeout, func(ctx context.Context, call *chassi.Call) error {
		return m.opened(ctx, opening, call)
	})
}

// untilOpen calls next with a context that is canceled after d unless the stream is open by then.
// It returns the error of next, or [chassi.DeadlineExceeded] if next failed because d had passed.
func untilOpen(ctx context.Context, call *chassi.Call, d time.Duration, next chassi.Handler) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(d, func() { cancel(context.DeadlineExceeded) })
	defer timer.Stop()
	call.Stream.OnOpen(func() { timer.Stop() })
	err := next(ctx, call)
	if err != nil && context.Cause(ctx) == context.DeadlineExceeded && chassi.ErrorOf(err).Code == chassi.Canceled { //nolint:errorlint // the timer's
		return chassi.ErrorOf(context.DeadlineExceeded).WithCause(err)
	}
	return err
}

// opened makes attempts until one opens the stream or no further attempt is allowed. It returns the
// error of the last attempt or of pick, or nil when the stream has ended normally. The deadline of
// opening limits the delays between attempts. It does not apply to ctx, which lasts as long as the
// stream.
func (m *clusterMethod) opened(ctx, opening context.Context, call *chassi.Call) error {
	c := m.cluster
	var last *target
	for n := 1; ; n++ {
		t, done, err := c.pick(ctx, last)
		if err != nil {
			return err
		}
		err = m.streamFrom(ctx, call, t, done)
		if err == nil || call.Stream.Opened() || !m.repeatable || !c.retry.Next(opening, n, err) {
			return err
		}
		c.retries.Add(1)
		if out, ok := call.Out.(*transport.Pairs); ok {
			*out = (*out)[:0]
		}
		last = t
	}
}

// streamFrom opens the stream at t, which pick returned, and receives its items. The stream counts
// as a call in flight of t until it ends. streamFrom records the outcome of the opening, and a
// failure if the stream breaks off or falls silent later.
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
			t.broken(err)
		}
	}()
	if d := c.policy.AttemptTimeout; d > 0 {
		err = untilOpen(ctx, call, d, method.call)
	} else {
		err = method.call(ctx, call)
	}
	return err
}

// broken records that a stream broke off or fell silent after it was opened. The opening
// was recorded as a success, so the failure is recorded as that of another call.
func (t *target) broken(err error) {
	if done, refused := t.breaker.Allow(); refused == nil {
		done(err)
	}
	t.failures.Add(1)
	t.learn(t.cluster.now(), 0, 1)
	if t.row.Add(1) >= int64(t.cluster.policy.Eject.Consecutive) {
		t.cluster.eject(t, t.cluster.now())
	}
}
