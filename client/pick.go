package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/chassi-go/chassi/breaker"
)

// The values of [Policy].Balancing.
const (
	p2c        = "p2c"
	roundRobin = "round_robin"
)

// stale is the time after which an instance is picked once though it looks worse than
// others: what it looks like may be long past.
const stale = int64(time.Second)

// pick chooses an instance for one attempt, another than avoid if it can, and one that
// is usable if there is one. Done must be called once with the outcome. A new error is
// made only when every instance's breaker refuses.
func (c *Cluster) pick(ctx context.Context, avoid *target) (t *target, done func(error), err error) {
	targets := *c.targets.Load()
	if len(targets) == 0 {
		select {
		case <-c.known:
			targets = *c.targets.Load()
		case <-ctx.Done():
		}
		if len(targets) == 0 {
			return nil, nil, errNoInstance.WithCause(ctx.Err())
		}
	}
	now := c.now()
	if t = c.choose(targets, avoid, now); t != nil {
		if done, err = t.enter(now); err == nil {
			return t, done, nil
		}
	}
	return c.takeAny(now)
}

// enter asks the breaker, and counts a call that it lets through.
func (t *target) enter(now int64) (done func(error), err error) {
	t.inFlight.Add(1)
	if t.gone.Load() {
		t.left()
		return nil, errGone
	}
	if done, err = t.breaker.Allow(); err != nil {
		t.left()
		return nil, err
	}
	t.picked.Store(now)
	t.calls.Add(1)
	return done, nil
}

var errGone = errors.New("client: the instance is gone")

// takeAny tries the usable instances, then all: when each is ejected, none is. Those that
// are gone have been replaced, if by nothing.
func (c *Cluster) takeAny(now int64) (t *target, done func(error), err error) {
	for {
		targets := *c.targets.Load()
		if len(targets) == 0 {
			return nil, nil, errNoInstance
		}
		var refused *breaker.OpenError
		if t, done, refused = takeOf(targets, now); t != nil {
			return t, done, nil
		}
		if refused != nil {
			return nil, nil, errCircuitOpen.WithCause(refused).WithRetryAfter(refused.RetryAfter)
		}
	}
}

// takeOf returns the soonest refusal if none lets the call through, and nil if all are gone.
func takeOf(targets []*target, now int64) (t *target, done func(error), refused *breaker.OpenError) {
	from := rand.IntN(len(targets))
	for _, careful := range [...]bool{true, false} {
		for i := range targets {
			t := targets[(from+i)%len(targets)]
			if careful && !t.usable(now) {
				continue
			}
			done, err := t.enter(now)
			if err == nil {
				return t, done, nil
			}
			if open, ok := errors.AsType[*breaker.OpenError](err); ok && (refused == nil || refused.RetryAfter == 0 || open.RetryAfter < refused.RetryAfter) {
				refused = open
			}
		}
	}
	return nil, nil, refused
}

// choose returns nil if it finds no usable instance at once.
func (c *Cluster) choose(targets []*target, avoid *target, now int64) *target {
	switch {
	case len(targets) == 1:
		return targets[0]
	case c.policy.Balancing == roundRobin:
		return c.next(targets, avoid, now)
	default:
		return c.better(targets, avoid, now)
	}
}

// next takes turns. A new instance lets some of its turns pass.
func (c *Cluster) next(targets []*target, avoid *target, now int64) *target {
	n := uint64(len(targets))
	for range 2 * n {
		t := targets[c.turn.Add(1)%n]
		if t != avoid && t.usable(now) && (now >= t.warm.Load() || rand.Float64() < t.warmth(now)) {
			return t
		}
	}
	return nil
}

// better is power of two choices: of two instances at random, the one with less cost,
// most of the time.
func (c *Cluster) better(targets []*target, avoid *target, now int64) *target {
	for range 3 {
		i := rand.IntN(len(targets))
		j := rand.IntN(len(targets) - 1)
		if j >= i {
			j++
		}
		a, b := targets[i], targets[j]
		if worse(a, b, avoid, now) {
			a, b = b, a
		}
		if last := b.picked.Load(); b != avoid && last+stale < now && b.usable(now) && b.picked.CompareAndSwap(last, now) {
			a = b
		}
		if a.usable(now) {
			return a
		}
	}
	return nil
}

func worse(a, b, avoid *target, now int64) bool {
	switch {
	case a.usable(now) != b.usable(now):
		return b.usable(now)
	case a == avoid || b == avoid:
		return a == avoid
	default:
		return isWorse(a.cost(now, b), b.cost(now, a), rand.Float64())
	}
}

// isWorse tells, by chance, whether cost a loses against cost b: as often as its square
// is of the sum of both. So one of twice the cost wins one time in five, and one of seven
// times one in fifty. If the lesser cost won each time, of two instances that are alike
// one would take all calls, and the other look slow because its caches are cold.
func isWorse(a, b, chance float64) bool { return chance*(a*a+b*b) < a*a }

// eject leaves t out for a while, if enough others remain.
func (c *Cluster) eject(t *target, now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.away.Load() > now {
		return
	}
	targets, out := *c.targets.Load(), 0
	for _, other := range targets {
		if other.away.Load() > now {
			out++
		}
	}
	if most := min(int(c.policy.Eject.Most*float64(len(targets))), len(targets)-1); out >= most {
		return
	}
	d := c.policy.Eject.Time * time.Duration(min(t.ejected.Add(1), 10))
	t.row.Store(0)
	t.away.Store(now + int64(d))
	t.warm.Store(now + int64(d) + int64(c.policy.SlowStart))
	c.ejections.Add(1)
	c.logger.Warn("an instance is left out", "service", c.name, "addr", t.addr, "for", d.String(), "failures", c.policy.Eject.Consecutive)
}
