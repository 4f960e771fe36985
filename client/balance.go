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

// stale is the time since its latest pick after which an instance with a higher cost is picked
// once, because its measurements may be outdated.
const stale = int64(time.Second)

// choose returns an instance according to Policy.Balancing, or nil if it does not quickly find a
// usable one. It returns a single instance whether or not it is usable.
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

// nextInTurn returns the next usable instance in turn, other than avoid, or nil if it finds none in
// two rounds. During its slow start an instance is skipped in some turns.
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

// betterOfTwo returns the better of two random instances (power of two choices), in most cases the
// one with the lower cost. If that instance is not usable it chooses again; after three choices it
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

// isStale reports whether t is usable and has not been picked for longer than stale. Of concurrent
// calls only one returns true, because it also records a pick.
func (t *target) isStale(now int64) bool {
	last := t.picked.Load()
	return last+stale < now && t.usable(now) && t.picked.CompareAndSwap(last, now)
}

// isWorse reports whether b should be preferred to a.
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

// loses reports whether cost a loses against cost b. It does so with the probability
// a*a / (a*a + b*b), given a random chance from 0 to 1: an instance of twice the cost is
// chosen one time in five, one of seven times the cost one time in fifty. If the lower cost
// were always chosen, one of two equal instances would get all calls, and the other would
// look slow because its caches are cold.
func loses(a, b, chance float64) bool { return chance*(a*a+b*b) < a*a }

// eject excludes t for a time, unless too many instances are ejected already.
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
	c.logger.Warn("an instance is left out", "target", c.name, "addr", t.addr, "for", d.String(), "failures", c.policy.Eject.Consecutive)
}

// mayEject reports whether another instance may be ejected: at most Eject.MaxShare of all instances
// are, and never the last one.
func (c *Cluster) mayEject(now int64) bool {
	targets, ejected := *c.targets.Load(), 0
	for _, t := range targets {
		if t.away.Load() > now {
			ejected++
		}
	}
	return ejected < min(int(c.policy.Eject.MaxShare*float64(len(targets))), len(targets)-1)
}
