package client

import (
	"math/rand/v2"
	"time"
)

// The values of [Policy].Balancing.
const (
	p2c        = "p2c"
	roundRobin = "round_robin"
)

// stale is the time in nanoseconds after which an instance that was not picked because
// of its cost is picked once, because its measurements may be outdated.
const stale = int64(time.Second)

// choose returns a usable instance according to Policy.Balancing. Round robin never chooses
// avoid; p2c prefers other instances. choose returns nil if round robin finds no instance in
// two rounds, or p2c finds none in three choices. If there is only one instance, choose
// returns it, even if it is avoid or not usable.
func (c *Cluster) choose(targets []*target, avoid *target, now int64) *target {
	switch {
	case len(targets) == 1:
		return targets[0]
	case c.policy.Balancing == roundRobin:
		return c.nextInTurn(targets, avoid, now)
	default:
		return betterOfTwo(targets, avoid, now)
	}
}

// nextInTurn returns the next usable instance in turn, other than avoid, or nil if it
// finds none in two rounds. An instance is skipped at random during its slow start.
func (c *Cluster) nextInTurn(targets []*target, avoid *target, now int64) *target {
	n := uint64(len(targets))
	for range 2 * n {
		t := targets[c.turn.Add(1)%n]
		if t != avoid && t.usable(now) && (now >= t.warm.Load() || rand.Float64() < t.warmth(now)) {
			return t
		}
	}
	return nil
}

// betterOfTwo chooses two random instances (power of two choices) and returns the better
// one, in most cases the one with the lower cost, or the worse one if that is stale and
// not avoid. If neither is usable, betterOfTwo chooses again; after three choices it
// returns nil.
func betterOfTwo(targets []*target, avoid *target, now int64) *target {
	for range 3 {
		better, worse := twoOf(targets)
		if isWorse(better, worse, avoid, now) {
			better, worse = worse, better
		}
		if worse != avoid && worse.isStale(now) {
			better = worse
		}
		if better.usable(now) {
			return better
		}
	}
	return nil
}

// twoOf returns two different instances at random.
func twoOf(targets []*target) (a, b *target) {
	i := rand.IntN(len(targets))
	j := rand.IntN(len(targets) - 1)
	if j >= i {
		j++
	}
	return targets[i], targets[j]
}

// isStale reports whether t is usable and has not been picked for longer than stale. It
// then also records a pick, so that only one of several concurrent calls returns true.
func (t *target) isStale(now int64) bool {
	last := t.picked.Load()
	return last+stale < now && t.usable(now) && t.picked.CompareAndSwap(last, now)
}

// isWorse reports whether b should be preferred to a. A usable instance is preferred to
// an unusable one, and any other instance to the instance avoid. Otherwise the choice is
// random and depends on the costs.
func isWorse(a, b, avoid *target, now int64) bool {
	switch {
	case a.usable(now) != b.usable(now):
		return b.usable(now)
	case a == avoid || b == avoid:
		return a == avoid
	default:
		return loses(a.cost(now, b), b.cost(now, a), rand.Float64())
	}
}

// loses reports whether an instance with cost a loses against one with cost b. Given a
// random chance from 0 to 1, it returns true with the probability a*a / (a*a + b*b): an
// instance of twice the cost is chosen one time in five, and one of seven times the cost
// one time in fifty. If the lower cost were always chosen, one of two equal instances
// would get all calls, and the other would look slow because its caches are cold.
func loses(a, b, chance float64) bool { return chance*(a*a+b*b) < a*a }

// eject excludes t for Eject.Duration, multiplied by the number of its consecutive ejections,
// but by at most ten. It does nothing if t is already ejected or mayEject returns false.
func (c *Cluster) eject(t *target, now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.away.Load() > now || !c.mayEject(now) {
		return
	}
	d := c.policy.Eject.Duration * time.Duration(min(t.ejected.Add(1), 10))
	t.row.Store(0)
	t.away.Store(now + int64(d))
	t.warm.Store(now + int64(d) + int64(c.policy.SlowStart))
	c.ejections.Add(1)
	c.logger.Warn("an instance is ejected", "target", c.name, "addr", t.addr, "for", d.String(), "failures", c.policy.Eject.Consecutive)
}

// mayEject reports whether another instance may be ejected: at most Eject.MaxShare of
// all instances may be ejected at the same time, and never all of them.
func (c *Cluster) mayEject(now int64) bool {
	targets, ejected := *c.targets.Load(), 0
	for _, t := range targets {
		if t.away.Load() > now {
			ejected++
		}
	}
	return ejected < min(int(c.policy.Eject.MaxShare*float64(len(targets))), len(targets)-1)
}
