package client

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/chassi-go/chassi/breaker"
)

// Stats are the statistics of a [Cluster]. The fields of type uint64 count events since the Cluster
// was created.
type Stats struct {
	Instances                                        []InstanceStats
	InFlight                                         int
	Retries, Hedges, BulkheadFull, Ejections         uint64
	BreakersOpened, BreakersHalfOpen, BreakersClosed uint64
}

// InstanceStats are the statistics of one instance.
type InstanceStats struct {
	Addr            string
	Breaker         breaker.State
	Ejected         bool
	InFlight        int
	Latency         time.Duration // recent average; 0 if unknown
	Answered        bool          // whether any call succeeded or failed through the fault of the client
	Calls, Failures uint64
}

// Stats returns the current statistics.
func (c *Cluster) Stats() Stats {
	s := Stats{
		InFlight: int(c.inFlight.Load()), Retries: c.retries.Load(), Hedges: c.hedges.Load(), BulkheadFull: c.bulkheadFull.Load(),
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

// working reports whether the instance is available: its breaker is closed and it is not ejected.
func (i InstanceStats) working() bool { return i.Breaker == breaker.Closed && !i.Ejected }

// Status returns the status for [chassi.App.AddStatus]: "ok" if an available instance has
// answered a call (see [InstanceStats].Answered). If none has, the status is "degraded" if an
// instance is unavailable or a call has failed, and "unknown" in all other cases, for example
// before the first call.
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

// String returns a summary of the instances in one line for readiness, such as "2
// instances" or "3 instances; 10.0.0.2:8080 breaker open, 10.0.0.3:8080 left out".
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
