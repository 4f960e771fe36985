package overload

import (
	"math"
	"time"
)

// Bounds of a window. A window ends when enoughCalls calls have been measured, but not before
// its minimum length: a tenth of a second, or the mean time of a call, up to one second,
// if that is longer. It ends after two seconds in any case, so that a service that
// completes one call in a second is protected too.
const (
	minWindow   = 100 * time.Millisecond
	maxWindow   = 2 * time.Second
	enoughCalls = 10
	recheck     = 10 * time.Millisecond // time until the next check if fewer calls have ended
)

// window is the state of the current window, with averages over earlier windows.
type window struct {
	began   int64
	checked int64   // when closeWindow last checked the window
	refused uint64  // Limiter.refused when it began
	typical float64 // time of a call, geometric mean
	rate    float64 // calls completed in a second, smoothed
}

// measurement summarizes the calls of all classes in a window.
type measurement struct {
	length  float64 // in nanoseconds
	calls   float64 // number of calls that ended
	taken   float64 // nanoseconds in flight of these calls, without long calls
	excess  float64 // mean logarithm of how many times longer than usual the calls took
	chance  float64 // part of excess that may be chance: three standard deviations of the mean
	crowded bool    // whether calls were refused
}

// slowness returns how many times longer than usual the calls took, beyond what may be chance.
func (m measurement) slowness() float64 { return math.Exp(m.excess - m.chance) }

// closeWindow ends the window if it is due, and adjusts the limit. It is called when calls begin
// and when they end, so that windows end even if no call ends.
func (l *Limiter) closeWindow(now int64) {
	if now < l.due.Load() || !l.mu.TryLock() {
		return
	}
	defer l.mu.Unlock()
	silence := now - l.window.checked
	l.window.checked = now
	if now < l.due.Load() { // another call closed it first
		return
	}
	l.load.age(now, l.window.typical, len(l.classes))
	length := now - l.window.began
	if length < int64(maxWindow) && l.endedCalls() < enoughCalls {
		l.due.Store(now + int64(recheck))
		return
	}
	l.window.began = now
	l.due.Store(now + int64(minWindow))
	if m := l.measure(float64(length)); m.calls > 0 {
		l.adjust(now, m)
	}
	if silence >= int64(maxWindow) && l.load.inFlight() == 0 {
		l.limit.Store(int64(l.config.MaxInFlight)) // an idle process is not overloaded
		l.probe = probe{}
	}
}

// endedCalls returns the number of calls that have been measured since the window began.
func (l *Limiter) endedCalls() (calls int64) {
	for _, c := range l.classes {
		calls += c.samples.calls.Load()
	}
	return calls
}

// measure summarizes the window that is ending and has the given length in nanoseconds.
func (l *Limiter) measure(length float64) measurement {
	m := measurement{length: length}
	refused := l.refused.Load()
	m.crowded = refused > l.window.refused
	l.window.refused = refused
	logs, variance := 0.0, 0.0
	for _, c := range l.classes {
		prior := c.variance
		c.summarize()
		m.calls += c.seen.calls
		m.taken += c.seen.taken
		m.excess += c.seen.calls * c.excess()
		logs += c.seen.calls * c.seen.mean
		variance += c.seen.calls * prior
	}
	l.window.rate += (m.calls*float64(time.Second)/length - l.window.rate) * 0.2
	if m.calls > 0 {
		m.excess /= m.calls
		m.chance = 3 * math.Sqrt(variance) / m.calls
		l.window.typical = math.Exp(logs / m.calls)
	}
	return m
}

// adjust updates the classes, the probe and the limit with the measurement of a window.
func (l *Limiter) adjust(now int64, m measurement) {
	// The effect of a limit shows when the calls that it admitted have ended.
	l.due.Store(now + max(int64(minWindow), min(int64(m.taken/m.calls), int64(time.Second))))
	floor := min(max(2*l.window.rate, 4), float64(l.config.MinInFlight))
	l.floor.Store(int64(floor))
	load := float64(l.load.inFlight())
	idle := load <= floor
	l.reserve(m)
	slowness := l.slowness(m, load)
	overloaded := slowness > l.config.Tolerance && !idle
	if l.runProbe(now, m, m.crowded || overloaded) {
		return
	}
	for _, c := range l.classes {
		c.learn(idle)
	}
	l.moveLimit(slowness, overloaded, m.crowded, load)
}

// slowness returns how many times longer than usual calls take, or will take soon at
// the given number of calls in flight.
func (l *Limiter) slowness(m measurement, load float64) float64 {
	slowness := m.slowness()
	if slowness > math.Sqrt(l.config.Tolerance) && m.taken > 0 {
		// Calls have begun to be slow. If more are in flight than were on average (Little's
		// law), the next ones will be slower still.
		slowness *= max(1, load*m.length/m.taken)
	}
	return slowness
}

// reserve updates the number of calls that are reserved for each class. It also updates the usual
// numbers of calls in flight, which follow the measured numbers while there is no pressure.
func (l *Limiter) reserve(m measurement) {
	calm := !m.crowded && m.slowness() < math.Sqrt(l.config.Tolerance)
	usualLoad := float64(enoughCalls)
	for _, c := range l.classes {
		if calm {
			c.usualInFlight += (c.seen.taken/m.length - c.usualInFlight) * faster
		}
		c.reserve(l.few())
		usualLoad += 2 * c.usualInFlight
	}
	l.recovery.usual.Store(int64(usualLoad))
}

// few returns the number of calls that a probe admits, which is also the minimum number of
// calls of each class that are admitted regardless of the limit.
func (l *Limiter) few() float64 { return math.Ceil(float64(l.floor.Load()) / 4) }

// moveLimit changes the limit. During overload it lowers the limit to about the number of calls in
// flight, or below it: the slower the calls are, the further. Otherwise it raises the limit, slowly
// while calls are refused, to find the capacity, and quickly while no calls are refused.
func (l *Limiter) moveLimit(slowness float64, overloaded, crowded bool, load float64) {
	limit := float64(l.limit.Load())
	switch {
	case overloaded:
		limit = min(limit, load+1) * max(l.config.Tolerance/slowness, 0.2)
	case crowded:
		limit += max(limit/50, 1)
	default:
		limit += max(limit/10, 1)
	}
	l.limit.Store(int64(min(max(limit, float64(l.floor.Load())), float64(l.config.MaxInFlight))))
}
