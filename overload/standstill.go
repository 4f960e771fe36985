package overload

import (
	"math"
	"time"
)

const (
	standstill      = 500 * time.Millisecond // at least, without a success
	maxCatchUp      = 3 * time.Second        // after a standstill
	catchUpInterval = 30 * time.Second       // at least: slow clients must not switch the limiter off
)

// waited reports whether the time that a call took says nothing, because the call waited in
// a standstill or behind those that did.
func (k *Kind) waited(now, began int64, o Outcome) bool {
	l := k.limiter
	if o == Worked {
		k.endStandstill(now, began)
	}
	if end := l.catchUp.Load(); end > 0 {
		if (now > end || l.busy() <= int64(l.config.MinInFlight)) && l.catchUp.CompareAndSwap(end, 0) {
			l.caughtUp.Store(now)
		}
		return true
	}
	return began < l.caughtUp.Load()
}

// endStandstill sees a success. After a long time without one, of a call that has waited as
// long, it is the end of a standstill: then everything is let in until what has piled up is
// done.
func (k *Kind) endStandstill(now, began int64) {
	l, silence := k.limiter, now-k.worked.Swap(now)
	wait := min(silence, now-began)
	if wait < int64(standstill) || float64(wait) < l.config.Tolerance*math.Exp(math.Float64frombits(k.usual.Load())) {
		return
	}
	last := l.standstill.Load()
	if (last == 0 || now-last > int64(catchUpInterval)) && l.standstill.CompareAndSwap(last, now) {
		l.catchUp.Store(now + int64(maxCatchUp))
		l.limit.Store(int64(l.config.MaxInFlight))
	}
}
