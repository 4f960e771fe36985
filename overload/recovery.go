package overload

import (
	"math"
	"sync/atomic"
	"time"
)

const (
	standstill       = 500 * time.Millisecond // minimum time without a success
	maxRecovery      = 3 * time.Second
	recoveryInterval = 30 * time.Second // minimum, so that slow clients cannot switch the limiter off
)

// silence is the latest period in which no call of a class succeeded.
type silence struct {
	succeeded   atomic.Int64 // when a call last succeeded
	began, over atomic.Int64
}

// A recovery follows a standstill, in which no call of a class succeeded. The calls that
// piled up in it are not overload: for three seconds the times of calls are ignored, unless
// more calls pile up.
type recovery struct {
	latest  atomic.Int64 // when the latest one began
	end     atomic.Int64 // when it ends
	backlog atomic.Int64 // calls in flight above which it is overload
	usual   atomic.Int64 // calls in flight without pressure, and a margin for chance
}

// queued reports whether the duration of a call must be ignored, because the call waited in a
// standstill or behind calls that did, or because it began before a probe measured.
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

// endsStandstill reports whether a call that succeeds waited for a long time in which no
// call of the class succeeded. The first success may be that of a call that has just begun.
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

// recover begins a recovery, if more calls than usual are in flight and the latest recovery
// was long enough ago.
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
