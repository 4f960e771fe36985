package overload

import (
	"math"
	"time"
)

// probe is the state of a probe, which distinguishes overload from calls that have become
// permanently slower. A probe begins after a second of pressure, in which calls are refused or
// slow. It admits few calls, waits until earlier calls have ended, and then moves the usual times
// toward the times of one more window. Its phases are:
//   - noProbe, until pressure has lasted for probeAfter
//   - draining, until earlier calls have ended
//   - measuring, for one window
type probe struct {
	phase    phase
	pressure int64 // when the pressure began; 0 for none
	resume   int64 // the limit after the probe
	drained  int64 // when earlier calls will have ended
}

type phase uint8

const (
	noProbe   phase = iota
	draining        // waiting for earlier calls to end
	measuring       // measuring the times of calls without overload
)

const (
	probeAfter    = time.Second      // time of pressure before a probe
	probeInterval = 10 * time.Second // minimum time between two probes while pressure continues
)

// runProbe begins a probe if one is due, or advances or ends the current probe. It reports whether
// the window belongs to a probe, including the window in which the probe begins or ends.
func (l *Limiter) runProbe(now int64, m measurement, pressure bool) bool {
	switch p := &l.probe; p.phase {
	case draining:
		if now >= p.drained {
			p.phase = measuring
			l.since.Store(now)
		}
	case measuring:
		l.endProbe(now)
	default:
		if !p.due(now, pressure) {
			return false
		}
		l.beginProbe(now, m)
	}
	return true
}

// due reports whether pressure has lasted long enough to begin a probe. It records
// when the pressure began.
func (p *probe) due(now int64, pressure bool) bool {
	switch {
	case !pressure:
		p.pressure = 0
	case p.pressure == 0:
		p.pressure = now
	default:
		return now-p.pressure >= int64(probeAfter)
	}
	return false
}

// beginProbe begins a probe and lowers the limit to l.few(). It assumes that the calls in
// flight end at the rate of the latest window.
func (l *Limiter) beginProbe(now int64, m measurement) {
	p := &l.probe
	p.phase, p.resume = draining, l.limit.Load()
	p.drained = now + int64(float64(l.load.inFlight())*m.length/m.calls)
	l.limit.Store(min(p.resume, int64(l.few())))
}

// endProbe restores the limit from before the probe, or raises it to Config.MaxInFlight if calls
// were slow in the probe too. While pressure continues, the next probe begins after probeInterval
// or the time of 60 typical calls, whichever is longer; after a pause in the pressure, it begins
// after probeAfter of new pressure.
func (l *Limiter) endProbe(now int64) {
	limit := l.probe.resume
	for _, c := range l.classes {
		if c.believe() > l.config.Tolerance {
			limit = int64(l.config.MaxInFlight) // they were slow without overload
		}
	}
	l.limit.Store(limit)
	l.probe = probe{pressure: now + int64(max(float64(probeInterval), 60*l.window.typical)) - int64(probeAfter)}
}

// believe moves the usual time toward the times measured in a probe: the more calls were
// measured, the further. It returns the factor by which the usual time changed.
func (c *Class) believe() float64 {
	step := c.excess() * min(1, c.seen.calls/enoughCalls)
	c.shiftUsual(step)
	return math.Exp(step)
}
