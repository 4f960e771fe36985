package retry

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Config says how often and how fast. The zero value of a field means the default in
// its tag.
type Config struct {
	Attempts   int           `config:"attempts" default:"3" min:"1" max:"10" help:"attempts of one call at most, the first included; 1 for no retries"`
	Backoff    time.Duration `config:"backoff" default:"50ms" min:"1ms" help:"longest pause before the first retry; it doubles with each, and a random part of it is waited (full jitter)"`
	MaxBackoff time.Duration `config:"max_backoff" default:"2s" min:"1ms" help:"longest pause before any retry"`
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
	return c
}

// Policy says what is retried.
type Policy struct {
	Config

	Budget *Budget // shared by the calls of one client; nil for no bound

	// Retryable tells whether another attempt may help, and the time that must pass before
	// it, 0 for none. By default every error may, but for those of a context.
	Retryable func(err error) (after time.Duration, ok bool)

	// OnRetry is told of each retry before it is made.
	OnRetry func(ctx context.Context, attempt int, err error)
}

// Do calls f until it succeeds, or fails for good: with an error that is not
// retryable, after the last attempt, without budget, or when the pause would outlast
// ctx. It returns what the last call of f did.
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

// Next decides what follows after so many attempts, of which the last one ended with
// err: it returns true when it is time for the next one. It is [Do] for those with a
// loop of their own, who tell the budget of successes themselves.
func (p *Policy) Next(ctx context.Context, attempts int, err error) bool {
	c := p.withDefaults()
	if attempts >= c.Attempts || ctx.Err() != nil {
		return false
	}
	after, ok := p.retryable(err)
	if !ok {
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

// pause is exponential backoff with full jitter: anything between nothing and a
// bound that doubles, because what must be spread are the callers and not the pauses of
// one of them.
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
