package overload

import (
	"math"
	"sync/atomic"
	"time"
)

// A generation counts the calls in flight that began in the same period.
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

// generations holds the two latest generations. Calls of older generations are long calls and do
// not count: an open stream or a long poll puts little load on a service, and refusing other calls
// does not end it sooner.
type generations struct {
	current, previous atomic.Pointer[generation]
	began             int64 // when the current generation began; guarded by Limiter.mu
}

// A generation lasts ten times the typical time of a call, and at least five seconds. A call is
// long once two newer generations have begun, so after one to two such periods.
const (
	minPeriod  = 5 * time.Second
	longFactor = 10
)

// age begins a new generation if the current one is old enough, given the typical time of a
// call.
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

// counts reports whether the calls of g count, because they are not long.
func (gs *generations) counts(g *generation) bool {
	return g == gs.current.Load() || g == gs.previous.Load()
}

// inFlight returns the number of calls in flight, without long ones.
func (gs *generations) inFlight() (n int64) {
	for _, g := range []*generation{gs.current.Load(), gs.previous.Load()} {
		for p := range g.priorities {
			n += g.priorities[p].Load()
		}
	}
	return n
}
