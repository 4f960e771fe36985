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
	if o == Worked && k.endsStandstill(now, began) {
		l.beginCatchUp(now)
	}
	end := l.catchUp.Load()
	if end == 0 {
		return began < l.caughtUp.Load()
	}
	switch busy := l.busy(); {
	case busy <= l.usualBusy.Load() || now > end:
		if l.catchUp.CompareAndSwap(end, 0) {
			l.caughtUp.Store(now)
		}
	case busy > l.backlog.Load(): // it grows: that is overload
		l.catchUp.CompareAndSwap(end, 0)
		return false
	}
	return true
}

// endsStandstill reports whether a call that succeeds has waited for long in which no call
// of the kind did, so that a standstill has just ended. The first success may be of a call
// that has just begun.
func (k *Kind) endsStandstill(now, began int64) bool {
	if last := k.worked.Swap(now); now-last > int64(standstill) {
		k.silent.Store(last)
		k.resumed.Store(now)
	}
	resumed := k.resumed.Load()
	wait := resumed - max(began, k.silent.Load())
	return now-resumed < int64(maxCatchUp) && wait > int64(standstill) &&
		float64(wait) > k.limiter.config.Tolerance*math.Exp(math.Float64frombits(k.usual.Load()))
}

// beginCatchUp lets everything in until what has piled up, if anything has, is done, as long
// as it becomes less.
func (l *Limiter) beginCatchUp(now int64) {
	if l.busy() <= l.usualBusy.Load() {
		return
	}
	last := l.standstill.Load()
	if (last == 0 || now-last > int64(catchUpInterval)) && l.standstill.CompareAndSwap(last, now) {
		l.backlog.Store(l.busy()*5/4 + fewSamples)
		l.catchUp.Store(now + int64(maxCatchUp))
		l.limit.Store(int64(l.config.MaxInFlight))
	}
}
