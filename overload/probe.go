package overload

import (
	"math"
	"time"
)

// A probe distinguishes overload from calls that have become permanently slower. It begins
// after a second of pressure, admits few calls, waits until earlier calls have ended, and uses
// the times of one more window as the usual ones:
//
//	noProbe --pressure for probeAfter--> draining --earlier calls ended--> measuring --a window--> noProbe
type probe struct {
	phase    phase
	pressure int64 // when the pressure began; 0 for none
	resume   int64 // the limit after the probe
	drained  int64 // when earlier calls have ended
}

type phase uint8

const (
	noProbe   phase = iota
	draining        // earlier calls end
	measuring       // calls take as long as they do without overload
)

const (
	probeAfter    = time.Second // of pressure
	probeInterval = 10 * time.Second
)

// runProbe begins a probe if one is due, or advances it by one window, and reports whether a probe
// is under way.
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

// due reports whether there has been pressure for long enough to begin a probe.
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

// beginProbe lowers the limit to few calls. It assumes that the calls in flight end at the rate of
// the latest window.
func (l *Limiter) beginProbe(now int64, m measurement) {
	p := &l.probe
	p.phase, p.resume = draining, l.limit.Load()
	p.drained = now + int64(float64(l.load.inFlight())*m.length/m.calls)
	l.limit.Store(min(p.resume, int64(l.few())))
}

// endProbe restores the limit from before the probe, or removes it if the calls were slow in
// the probe too, and schedules the earliest next probe after probeInterval.
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

// believe moves the usual time towards the times measured in a probe, further the more calls
// there were, and returns the factor by which it changed.
func (c *Class) believe() float64 {
	step := c.excess() * min(1, c.seen.calls/enoughCalls)
	c.shiftUsual(step)
	return math.Exp(step)
}
