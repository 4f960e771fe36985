package client

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/chassi-go/chassi/breaker"
)

// Stats is what a [Cluster] tells of itself.
type Stats struct {
	Instances                                        []InstanceStats
	InFlight                                         int
	Retries, Hedges, Crowded, Ejections              uint64
	BreakersOpened, BreakersHalfOpen, BreakersClosed uint64
}

// InstanceStats is what it tells of one instance.
type InstanceStats struct {
	Addr            string
	Breaker         breaker.State
	Ejected         bool
	InFlight        int
	Latency         time.Duration // of late
	Answered        bool          // whether any call ever succeeded
	Calls, Failures uint64
}

// Stats returns the state now.
func (c *Cluster) Stats() Stats {
	s := Stats{
		InFlight: int(c.inFlight.Load()), Retries: c.retries.Load(), Hedges: c.hedges.Load(), Crowded: c.crowded.Load(),
		Ejections: c.ejections.Load(), BreakersOpened: c.opened.Load(), BreakersHalfOpen: c.halfOpen.Load(), BreakersClosed: c.closed.Load(),
	}
	now := c.now()
	for _, t := range *c.targets.Load() {
		s.Instances = append(s.Instances, InstanceStats{
			Addr: t.addr, Breaker: t.breaker.State(), Ejected: t.away.Load() > now, InFlight: int(t.inFlight.Load()),
			Latency: time.Duration(math.Float64frombits(t.latency.Load())), Calls: t.calls.Load(), Failures: t.failures.Load(),
			Answered: t.answered.Load(),
		})
	}
	return s
}

// working reports whether calls go to the instance.
func (i InstanceStats) working() bool { return i.Breaker == breaker.Closed && !i.Ejected }

// Status says whether the service was seen to work, as [chassi.App.Inform] wants it: "ok"
// where an instance has answered and is called, "unknown" where none has been called or is
// known, "degraded" otherwise.
func (s Stats) Status() string {
	status := "unknown"
	for _, i := range s.Instances {
		switch {
		case i.working() && i.Answered:
			return "ok"
		case !i.working() || i.Failures > 0:
			status = "degraded"
		}
	}
	return status
}

// String says in one line how the instances do, as readiness shows it: "2 instances",
// or "3 instances; 10.0.0.2:8080 open, 10.0.0.3:8080 left out".
func (s Stats) String() string {
	var troubles []string
	for _, i := range s.Instances {
		switch {
		case i.Breaker != breaker.Closed:
			troubles = append(troubles, strings.TrimSpace(i.Addr+" breaker "+i.Breaker.String()))
		case i.Ejected:
			troubles = append(troubles, strings.TrimSpace(i.Addr+" left out"))
		}
	}
	text := fmt.Sprintf("%d instances", len(s.Instances))
	if len(s.Instances) == 1 {
		text = "1 instance"
	}
	if len(troubles) > 0 {
		text += "; " + strings.Join(troubles, ", ")
	}
	return text
}
