package overload

import (
	"sync"
	"sync/atomic"
	"time"
)

// Limiter limits the calls in flight. Calls of a lower [Priority] may use only a part of the limit.
// A Limiter is safe for concurrent use, starts no goroutine and needs no Close.
type Limiter struct {
	config Config
	born   time.Time

	limit    atomic.Int64
	floor    atomic.Int64 // minimum of limit, except during probes
	total    atomic.Int64 // calls in flight, including long ones
	refused  atomic.Uint64
	load     generations
	due      atomic.Int64 // when the window may be closed
	since    atomic.Int64 // the times of calls that began earlier are ignored
	recovery recovery

	mu      sync.Mutex // guards the fields below
	classes []*Class
	window  window
	probe   probe
}

// New returns a limiter whose limit is Config.MaxInFlight until calls become slow.
func New(c Config) *Limiter {
	l := &Limiter{config: c.withDefaults(), born: time.Now()}
	l.limit.Store(int64(l.config.MaxInFlight))
	l.floor.Store(int64(l.config.MinInFlight))
	l.due.Store(int64(minWindow))
	l.load.rotate(0, 0) // and again for each class, so that there are two for the first call
	l.recovery.usual.Store(enoughCalls)
	return l
}

// now returns the time since the limiter was created, in nanoseconds.
func (l *Limiter) now() int64 { return int64(time.Since(l.born)) }

// Class returns the class with this name. If the class does not exist, Class adds it
// with priority p; the priority of an existing class does not change. All classes
// must be added before calls are made.
func (l *Limiter) Class(name string, p Priority) *Class {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.classes {
		if c.name == name {
			return c
		}
	}
	c := &Class{limiter: l, name: name, index: len(l.classes), priority: p}
	l.classes = append(l.classes, c)
	l.load.rotate(l.now(), len(l.classes))
	return c
}

// Permit is the state of an admitted call. It is returned by [Class.Acquire] and passed
// to [Class.Release].
type Permit struct {
	began      int64
	generation *generation
}

// Acquire admits a call and returns true, or refuses it and returns false. The permit of an
// admitted call must be passed to [Class.Release] exactly once.
func (c *Class) Acquire() (p Permit, ok bool) {
	l := c.limiter
	now := l.now()
	l.closeWindow(now)
	g := l.load.current.Load()
	before := l.load.previous.Load()
	n := g.priorities[c.priority].Add(1) + before.priorities[c.priority].Load()
	for p := c.priority + 1; p < priorities; p++ {
		n += g.priorities[p].Load() + before.priorities[p].Load()
	}
	own := g.classes[c.index].Add(1)
	total := l.total.Add(1)
	if total > int64(l.config.MaxInFlight) || float64(n) > l.capacity(c.priority) && own+before.class(c.index) > c.reserved.Load() {
		c.leave(g)
		l.refused.Add(1)
		return Permit{}, false
	}
	return Permit{now, g}, true
}

// capacity returns the number of calls of priority p and of higher priorities that
// may be in flight together.
func (l *Limiter) capacity(p Priority) float64 {
	return max(float64(l.limit.Load())*shares[p], 1)
}

func (c *Class) leave(g *generation) {
	g.priorities[c.priority].Add(-1)
	g.classes[c.index].Add(-1)
	c.limiter.total.Add(-1)
}

// Release ends the admitted call with the permit p. The outcome o determines whether
// the latency of the call is measured.
func (c *Class) Release(p Permit, o Outcome) {
	l := c.limiter
	c.leave(p.generation)
	if o == Failed {
		return
	}
	now := l.now()
	if c.queued(now, p.began, o) {
		return
	}
	c.measure(max(now-p.began, 1), o, l.load.counts(p.generation))
	l.closeWindow(now)
}

// PerClient returns the maximum number of calls in flight of one client: Config.PerClient
// or, if Config.PerClient is 0, a tenth of Config.MaxInFlight, rounded up.
func (l *Limiter) PerClient() int { return l.config.PerClient }

// Share returns the maximum number of calls that one client may have in flight when it makes a call
// of priority p. It is half of the calls that the priority may use, so that as many remain for all
// other clients, and at least 1. While a probe lowers the limit below its minimum, the share is that
// of the minimum. The limiter does not track clients: its users enforce the share, and report
// refusals with [Limiter.Refuse].
func (l *Limiter) Share(p Priority) int {
	limit := max(l.limit.Load(), l.floor.Load())
	return max(1, int(float64(limit)*shares[p]/2))
}

// Refuse counts a call that was refused because its client had reached its [Limiter.Share].
func (l *Limiter) Refuse() { l.refused.Add(1) }

// Stats returns the current state of the limiter.
func (l *Limiter) Stats() Stats {
	return Stats{Limit: int(l.limit.Load()), InFlight: int(l.total.Load()), Refused: l.refused.Load()}
}
