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

	// Guarded by Limiter.mu.
	seen          summary // the latest window
	variance      float64 // of the logarithms
	trend         float64 // excess over the usual time in the latest calls
	usualInFlight float64
}

// samples are the calls that ended since the window began.
type samples struct {
	calls   atomic.Int64
	taken   atomic.Int64 // nanoseconds in flight, without long calls
	logs    atomic.Int64 // sum of the logarithms of their times, in millionths
	squares atomic.Int64 // sum of the squares of the logarithms, in millionths
}

// summary summarizes the samples of one window.
type summary struct{ calls, taken, mean float64 } // mean logarithm

// measure adds the time of a call to the samples. Times are compared by the mean of their
// logarithms, so that a few long calls of a mostly fast class have little effect, and calls
// that are all slower have much.
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

// excess returns the logarithm of how many times longer than usual the calls of the window took.
func (c *Class) excess() float64 { return c.seen.mean - c.usualLog() }

// summarize moves the samples of the window to c.seen and updates c.variance and c.trend.
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

// Rates at which the usual time follows the measured one: faster downwards than upwards, and
// upwards only while few calls are in flight. Many calls in flight may themselves be the cause,
// which a probe determines.
const (
	faster = 0.05
	slower = 0.02
)

// learn moves the usual time towards the measured one, upwards only if idle is true.
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

// reserve sets how many calls of the class are admitted regardless of the limit: few, or twice the
// usual number in flight if that is more and the calls of the class are not slow.
func (c *Class) reserve(few float64) {
	if c.trend < math.Log(c.limiter.config.Tolerance)/2 {
		few = max(few, 2*c.usualInFlight)
	}
	c.reserved.Store(int64(few))
}
