package retry

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Config sets the number and the timing of attempts. The zero value of a field means the
// default in its tag.
type Config struct {
	Attempts   int           `config:"attempts" default:"3" min:"1" max:"10" help:"maximum number of attempts of one call, the first included; 1 disables retries"`
	Backoff    time.Duration `config:"backoff" default:"50ms" min:"1ms" help:"maximum delay before the first retry; it doubles with each retry, and the actual delay is a random part of it (full jitter)"`
	MaxBackoff time.Duration `config:"max_backoff" default:"2s" min:"1ms" help:"maximum delay before any retry, unless the service asks for a longer one"`

	// MaxRetryAfter limits the delay that a service may request, so that the service cannot block
	// callers.
	MaxRetryAfter time.Duration `config:"max_retry_after" default:"10s" min:"1ms" help:"maximum delay asked for by the service (Retry-After) that a retry waits for; with a longer one there is no retry"`
}

func (c Config) withDefaults() Config {
	if c.Attempts <= 0 {
		c.Attempts = 3
	}
	if c.Backoff <= 0 {
		c.Backoff = 50 * time.Millisecond
	}
	if c.MaxBackoff <= 0 {
		c.MaxBackoff = 2 * time.Second
	}
	if c.MaxRetryAfter <= 0 {
		c.MaxRetryAfter = 10 * time.Second
	}
	return c
}

// Policy determines which failed calls are retried, how often and after which delays.
type Policy struct {
	Config

	Budget *Budget // shared by the calls of one client; nil for no limit

	// Retryable reports whether another attempt may succeed after err, and the minimum
	// delay before that attempt, or 0. If the delay is longer than MaxRetryAfter, no
	// attempt follows. By default all errors are retryable except those of package context.
	Retryable func(err error) (after time.Duration, ok bool)

	// OnRetry, if not nil, is called before each retry, after the delay, with the number of
	// the next attempt and the error of the last attempt.
	OnRetry func(ctx context.Context, attempt int, err error)
}

// Do calls f until it succeeds or another attempt is not allowed: the error is not retryable, the
// attempts or the budget are exhausted, ctx is done, the delay that Retryable returns exceeds
// MaxRetryAfter, or the delay would last until the deadline of ctx or longer. In the last two cases
// Do does not wait. It returns the result and the error of the last call of f.
func Do[T any](ctx context.Context, p Policy, f func(context.Context) (T, error)) (T, error) {
	for attempt := 1; ; attempt++ {
		result, err := f(ctx)
		if err == nil {
			p.Budget.Succeeded()
			return result, nil
		}
		if !p.Next(ctx, attempt, err) {
			return result, err
		}
	}
}

// Next waits for the delay before the next attempt and returns true, or returns false if
// no attempt may follow. It is for loops that do not use [Do]: they must call Next after
// each failed attempt, with the number of attempts so far and the error of the last
// attempt, and [Budget.Succeeded] after a success.
func (p *Policy) Next(ctx context.Context, attempts int, err error) bool {
	c := p.withDefaults()
	if attempts >= c.Attempts || ctx.Err() != nil {
		return false
	}
	after, ok := p.retryable(err)
	if !ok || after > c.MaxRetryAfter {
		return false
	}
	pause := max(after, c.pause(attempts))
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= pause {
		return false
	}
	if !p.Budget.Withdraw() {
		return false
	}
	if !wait(ctx, pause) {
		return false
	}
	if p.OnRetry != nil {
		p.OnRetry(ctx, attempts+1, err)
	}
	return true
}

func (p *Policy) retryable(err error) (time.Duration, bool) {
	if p.Retryable != nil {
		return p.Retryable(err)
	}
	return 0, !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// pause returns the delay of an exponential backoff with full jitter: a random duration between
// zero and a maximum that doubles with each attempt up to MaxBackoff, so that the retries of many
// clients are spread.
func (c Config) pause(attempts int) time.Duration {
	bound := c.MaxBackoff
	if n := attempts - 1; n < 20 {
		bound = min(c.Backoff<<n, c.MaxBackoff)
	}
	return rand.N(bound + 1)
}

func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
