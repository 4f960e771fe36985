package overload

import (
	"math"
	"sync/atomic"
	"time"
)

const (
	standstill  = 500 * time.Millisecond // minimum time without a success
	maxRecovery = 3 * time.Second        // duration of a recovery
	// recoveryInterval is the minimum time between the beginnings of two recoveries. It
	// prevents slow clients from disabling the limiter.
	recoveryInterval = 30 * time.Second
)

// silence is the latest period in which no call of a class succeeded.
type silence struct {
	succeeded   atomic.Int64 // when a call last succeeded
	began, over atomic.Int64 // when the period began and ended
}

// recovery is the state of the limiter after a standstill, a period in which no call of a class
// succeeded. Calls that piled up during the standstill are not a sign of overload, so the durations
// of calls are ignored for three seconds, unless more calls pile up.
type recovery struct {
	latest  atomic.Int64 // when the latest recovery began
	end     atomic.Int64 // when the latest recovery ends
	backlog atomic.Int64 // number of calls in flight above which there is overload
	usual   atomic.Int64 // twice the usual number of calls in flight, plus a margin for chance
}

// queued reports whether the time of a call must be ignored: because the call waited in a
// standstill or behind calls that did, or because it began before a probe started to measure. It
// also begins and ends recoveries.
func (c *Class) queued(now, began int64, o Outcome) bool {
	l := c.limiter
	r := &l.recovery
	if o == Succeeded && c.endsStandstill(now, began) {
		l.recover(now)
	}
	if now >= r.end.Load() {
		return began < l.since.Load()
	}
	if l.load.inFlight() > r.backlog.Load() {
		r.end.Store(0) // more calls pile up: overload
		return false
	}
	return true
}

// endsStandstill records the success of a call, and reports whether the call has waited for a long
// time in which no call of the class succeeded. The first success after a standstill may be that of
// a call that has just begun.
func (c *Class) endsStandstill(now, began int64) bool {
	s := &c.recent
	if last := s.succeeded.Swap(now); now-last > int64(standstill) {
		s.began.Store(last)
		s.over.Store(now)
	}
	over := s.over.Load()
	wait := over - max(began, s.began.Load())
	return now-over < int64(maxRecovery) && wait > int64(standstill) &&
		float64(wait) > c.limiter.config.Tolerance*math.Exp(c.usualLog())
}

// recover begins a recovery if more than l.recovery.usual calls are in flight and the latest
// recovery began more than recoveryInterval ago.
func (l *Limiter) recover(now int64) {
	r := &l.recovery
	load := l.load.inFlight()
	if load <= r.usual.Load() {
		return
	}
	latest := r.latest.Load()
	if (latest == 0 || now-latest > int64(recoveryInterval)) && r.latest.CompareAndSwap(latest, now) {
		r.backlog.Store(load*5/4 + enoughCalls)
		r.end.Store(now + int64(maxRecovery))
	}
}
