package chassi

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Health is the state of an [App] at one moment.
type Health struct {
	Ready  bool          // whether new work is welcome
	State  string        // "starting", "serving", "draining", "stopped"
	Checks []CheckResult // one for each dependency, in the order they were added
}

// CheckResult is the outcome of one probe.
type CheckResult struct {
	Name   string
	Status string // "ok" and "failing", or what App.Inform's function says
	Err    error  // nil when the dependency works, or is not probed
	Took   time.Duration
	Detail string // of App.Inform's function
}

type check struct {
	name  string
	probe func(context.Context) error
	hung  *atomic.Int32                  // probes that were given up and still run
	state func() (status, detail string) // instead of a probe
}

// failing is the status of what makes the program unready.
const failing = "failing"

// maxHung bounds what a driver that ignores its context can pile up while
// readiness is polled.
const maxHung = 16

// Health probes every dependency now, all at once, each within the App's
// CheckTimeout. It is ready while the App serves and every probe succeeds.
func (a *App) Health(ctx context.Context) Health {
	state := a.currentState()
	h := Health{Ready: state == serving, State: state.String(), Checks: make([]CheckResult, len(a.checks))}
	var wg sync.WaitGroup
	for i, c := range a.checks {
		wg.Go(func() { h.Checks[i] = a.probe(ctx, c) })
	}
	wg.Wait()
	for _, c := range h.Checks {
		h.Ready = h.Ready && c.Err == nil
	}
	return h
}

// probe gives up on a probe that ignores its context, so that one hung driver
// cannot hang the answer.
func (a *App) probe(ctx context.Context, c check) CheckResult {
	if c.state != nil {
		status, detail := c.state()
		return CheckResult{Name: c.name, Status: status, Detail: detail}
	}
	if c.hung.Load() >= maxHung {
		return CheckResult{Name: c.name, Status: failing, Err: fmt.Errorf("no answer: %d earlier probes ignore their deadline and still run", maxHung)}
	}
	ctx, cancel := context.WithTimeout(ctx, a.options.CheckTimeout)
	defer cancel()
	began := time.Now()
	var ended atomic.Bool // or given up, whichever is first
	returned, err := await(ctx, 0, func(ctx context.Context) error {
		defer func() {
			if ended.Swap(true) {
				c.hung.Add(-1)
			}
		}()
		return c.probe(ctx)
	})
	if !returned && !ended.Swap(true) {
		c.hung.Add(1)
	}
	status := "ok"
	if err != nil {
		status = failing
	}
	return CheckResult{Name: c.name, Status: status, Err: err, Took: time.Since(began)}
}
