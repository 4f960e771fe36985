package chassi

import (
	"context"
	"fmt"
	"slices"
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
	checks, working := a.probeAll(ctx)
	state := a.currentState()
	return Health{Ready: state == serving && working, State: state.String(), Checks: checks}
}

func (a *App) probeAll(ctx context.Context) (checks []CheckResult, working bool) {
	checks, working = make([]CheckResult, len(a.checks)), true
	var wg sync.WaitGroup
	for i, c := range a.checks {
		wg.Go(func() { checks[i] = a.probe(ctx, c) })
	}
	wg.Wait()
	for _, c := range checks {
		working = working && c.Err == nil
	}
	return checks, working
}

// RecentHealth is Health with probes that are under way or began no longer ago than age.
// However many ask, and however often, each dependency is probed once in that time. State,
// and what is only told ([App.Inform]), are of now. When ctx ends before the probes do, all checks fail with its error.
func (a *App) RecentHealth(ctx context.Context, age time.Duration) Health {
	r := a.round(ctx, age)
	select {
	case <-r.done:
	case <-ctx.Done():
		return Health{State: a.currentState().String(), Checks: a.unanswered(ctx.Err())}
	}
	checks := slices.Clone(r.checks)
	for i, c := range a.checks {
		if c.state != nil { // costs nothing, and readers expect what is now
			checks[i] = a.probe(ctx, c)
		}
	}
	state := a.currentState()
	return Health{Ready: state == serving && r.working, State: state.String(), Checks: checks}
}

// round is one probe of every dependency.
type round struct {
	began   time.Time
	done    chan struct{} // closed when the rest is set
	checks  []CheckResult
	working bool
}

func (r *round) underWay() bool {
	select {
	case <-r.done:
		return false
	default:
		return true
	}
}

// rounds keeps the latest round.
type rounds struct {
	mu     sync.Mutex
	latest *round
}

// round returns the latest round if it is under way or began within age. Otherwise it
// begins one, which goes on when ctx ends: others may wait for it.
func (a *App) round(ctx context.Context, age time.Duration) *round {
	a.rounds.mu.Lock()
	defer a.rounds.mu.Unlock()
	if r := a.rounds.latest; r != nil && (time.Since(r.began) < age || r.underWay()) {
		return r
	}
	r := &round{began: time.Now(), done: make(chan struct{})}
	a.rounds.latest = r
	ctx = context.WithoutCancel(ctx)
	go func() {
		defer close(r.done)
		r.checks, r.working = a.probeAll(ctx)
	}()
	return r
}

func (a *App) unanswered(err error) []CheckResult {
	list := make([]CheckResult, len(a.checks))
	for i, c := range a.checks {
		list[i] = CheckResult{Name: c.name, Err: err}
	}
	return list
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
