package overload

import (
	"math"
	"sync/atomic"
)

// Class is a group of calls with similar latency, such as the calls of one endpoint.
type Class struct {
	limiter  *Limiter
	name     string
	index    int
	priority Priority
	reserved atomic.Int64  // calls that are admitted regardless of the limit
	usual    atomic.Uint64 // mean logarithm of the times without overload, as math.Float64bits; 0 if unknown
	samples  samples
	recent   silence

	// The fields below are guarded by Limiter.mu.
	seen          summary // the latest window
	variance      float64 // of the logarithms
	trend         float64 // excess over the usual time in the latest calls
	usualInFlight float64
}

// samples contains sums over the calls that were measured since the window began.
type samples struct {
	calls   atomic.Int64
	taken   atomic.Int64 // nanoseconds in flight, without long calls
	logs    atomic.Int64 // sum of the logarithms of their times, in millionths
	squares atomic.Int64 // sum of the squares of the logarithms, in millionths
}

// summary contains the samples of one window: the number of calls, the sum of their nanoseconds in
// flight, in which long calls are not included, and the mean logarithm of their times.
type summary struct{ calls, taken, mean float64 }

// measure adds a call that took the given number of nanoseconds to the samples. Its time in flight
// is added only if counts is true. A call that timed out in less than the usual time is ignored.
// Times are compared by the mean of their logarithms: a few long calls of a mostly fast class then
// have little effect, and a slowdown of all calls has a large one.
func (c *Class) measure(taken int64, o Outcome, counts bool) {
	log := math.Log(float64(taken))
	if o == TimedOut && log < c.usualLog() {
		return // its timeout was shorter than the usual time
	}
	if counts {
		c.samples.taken.Add(taken)
	}
	c.samples.logs.Add(int64(log * 1e6))
	c.samples.squares.Add(int64(log * log * 1e6))
	c.samples.calls.Add(1)
}

func (c *Class) usualLog() float64 { return math.Float64frombits(c.usual.Load()) }

// excess returns the logarithm of the factor by which the calls of the latest window
// took longer than usual.
func (c *Class) excess() float64 { return c.seen.mean - c.usualLog() }

// summarize moves the samples of the window to c.seen, and updates c.variance and c.trend. It sets
// c.usual if that is unknown. In a window without calls, only the sums in c.seen change.
func (c *Class) summarize() {
	s := &c.samples
	c.seen.calls, c.seen.taken = float64(s.calls.Swap(0)), float64(s.taken.Swap(0))
	logs, squares := float64(s.logs.Swap(0))/1e6, float64(s.squares.Swap(0))/1e6
	if c.seen.calls == 0 {
		return
	}
	c.seen.mean = logs / c.seen.calls
	if c.usual.Load() == 0 {
		c.usual.Store(math.Float64bits(c.seen.mean))
	}
	weight := c.seen.calls / (c.seen.calls + enoughCalls)
	c.variance += (max(squares/c.seen.calls-c.seen.mean*c.seen.mean, 0) - c.variance) * weight
	c.trend += (c.excess() - c.trend) * weight
}

// Rates at which the usual time follows the measured time. It falls faster than it rises, and
// rises only while few calls are in flight: many calls in flight may themselves be the cause of
// longer times, which only a probe determines.
const (
	faster = 0.05
	slower = 0.02
)

// learn moves the usual time toward the measured time. It increases the usual time
// only if idle is true.
func (c *Class) learn(idle bool) {
	switch excess := c.excess(); {
	case c.seen.calls == 0:
	case excess < 0:
		c.shiftUsual(excess * faster)
	case idle:
		c.shiftUsual(excess * slower)
	}
}

func (c *Class) shiftUsual(by float64) { c.usual.Store(math.Float64bits(c.usualLog() + by)) }

// reserve sets the number of calls of the class that are admitted regardless of the limit. The
// number is few, or twice the usual number in flight if that is larger and the calls of the class
// are not slow.
func (c *Class) reserve(few float64) {
	if c.trend < math.Log(c.limiter.config.Tolerance)/2 {
		few = max(few, 2*c.usualInFlight)
	}
	c.reserved.Store(int64(few))
}
