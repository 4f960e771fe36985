package overload

import (
	"math"
	"sync/atomic"
	"time"
)

// generation counts the calls in flight that began in the same period.
type generation struct {
	priorities [priorities]atomic.Int64
	classes    []atomic.Int64
}

func (g *generation) class(index int) int64 {
	if index >= len(g.classes) {
		return 0
	}
	return g.classes[index].Load()
}

// generations contains the two latest generations. Calls of older generations are long calls
// and count only toward Config.MaxInFlight: an open stream or a long poll puts little load
// on a service, and refusing other calls does not end it sooner.
type generations struct {
	current, previous atomic.Pointer[generation]
	began             int64 // when the current generation began; guarded by Limiter.mu
}

// Bounds of a period, in which the calls of one generation begin. A period lasts longFactor times
// the typical time of a call, and at least minPeriod. A call is long once two newer generations
// have begun, which is after one to two periods.
const (
	minPeriod  = 5 * time.Second
	longFactor = 10
)

// age begins a new generation if the current one is old enough. The parameter now is the current
// time, and typical is the typical time of a call, both in nanoseconds.
func (gs *generations) age(now int64, typical float64, classes int) {
	if float64(now-gs.began) >= math.Max(float64(minPeriod), longFactor*typical) {
		gs.rotate(now, classes)
	}
}

func (gs *generations) rotate(now int64, classes int) {
	gs.began = now
	gs.previous.Store(gs.current.Load())
	gs.current.Store(&generation{classes: make([]atomic.Int64, classes)})
}

// counts reports whether g is one of the two latest generations, whose calls count.
func (gs *generations) counts(g *generation) bool {
	return g == gs.current.Load() || g == gs.previous.Load()
}

// inFlight returns the number of calls in flight, excluding long calls.
func (gs *generations) inFlight() (n int64) {
	for _, g := range []*generation{gs.current.Load(), gs.previous.Load()} {
		for p := range g.priorities {
			n += g.priorities[p].Load()
		}
	}
	return n
}
