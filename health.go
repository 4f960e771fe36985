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
	Name string
	// Status is "ok"; "starting" before a server's Start has returned; "failing", or
	// "degraded" if it is optional; or what App.Inform's function says.
	Status string
	Err    error // nil when the dependency works, or is not probed
	Took   time.Duration
	Detail string // of App.Inform's function

	Optional bool // whether the app is ready without it
}

// component is what health knows by one name: a server, or something that is probed.
type component struct {
	Server   // nil if it is none
	name     string
	optional bool
	check    func(context.Context) error
	inform   func() (status, detail string) // instead of check
	pending  atomic.Pointer[CheckResult]    // of a server that has not started
	hung     atomic.Int32                   // probes that were given up and still run
	downFrom time.Time                      // zero while it works
}

func (c *component) up() bool { return c.pending.Load() == nil }

// unseen holds for a server that has started and has no Check.
func (c *component) unseen() bool { return c.Server != nil && c.check == nil && c.up() }

// Statuses of a component that does not work, if it is required and if not.
const failing, degraded = "failing", "degraded"

// maxHung bounds what a driver that ignores its context can pile up while
// readiness is polled.
const maxHung = 16

// Health probes every dependency now, all at once, each within the App's
// CheckTimeout. It is ready while the App serves and all that is not optional works.
func (a *App) Health(ctx context.Context) Health { return a.health(a.probeAll(ctx)) }

func (a *App) health(checks []CheckResult, working bool) Health {
	state := a.currentState()
	checks = slices.DeleteFunc(slices.Clone(checks), func(c CheckResult) bool { return c.Name == "" })
	return Health{Ready: state == serving && working, State: state.String(), Checks: checks}
}

// RecentHealth is Health with probes that are under way or began no longer ago than age.
// However many ask, and however often, each dependency is probed once in that time; none
// is for an age of 10 s or more while the App runs. State, and what [App.Inform] says, are of now. When ctx ends before
// the probes do, all checks fail with its error.
func (a *App) RecentHealth(ctx context.Context, age time.Duration) Health {
	r := a.round(ctx, age)
	select {
	case <-r.done:
		checks := slices.Clone(r.checks)
		for i, c := range a.all {
			if c.inform != nil && c.up() { // costs nothing, and readers expect what is now
				checks[i] = a.probe(ctx, c)
			}
		}
		return a.health(checks, r.working)
	case <-ctx.Done():
	}
	checks := make([]CheckResult, len(a.all))
	for i, c := range a.all {
		checks[i] = CheckResult{Name: c.name, Status: failing, Err: ctx.Err(), Optional: c.optional}
	}
	return a.health(checks, false)
}

// round is one probe of every dependency.
type round struct {
	began   time.Time
	done    chan struct{} // closed when the rest is set
	checks  []CheckResult // of each component; zero of one without
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

func (a *App) probeAll(ctx context.Context) (checks []CheckResult, working bool) {
	checks, working = make([]CheckResult, len(a.all)), true
	var wg sync.WaitGroup
	for i, c := range a.all {
		wg.Go(func() { checks[i] = a.probe(ctx, c) })
	}
	wg.Wait()
	for i, c := range a.all {
		working = working && (c.optional || checks[i].Err == nil && checks[i].Status != starting.String())
	}
	return checks, working
}

// markUp marks c as up. Rounds that began before are not used any more.
func (a *App) markUp(c *component) {
	a.rounds.mu.Lock()
	defer a.rounds.mu.Unlock()
	c.pending.Store(nil)
	a.rounds.latest = nil
}

// probe gives up on a probe that ignores its context, so that one hung driver
// cannot hang the answer.
func (a *App) probe(ctx context.Context, c *component) CheckResult {
	switch pending := c.pending.Load(); {
	case pending != nil:
		result := *pending
		result.Optional = c.optional
		return result
	case c.unseen():
		return CheckResult{}
	case c.inform != nil:
		status, detail := c.inform()
		return CheckResult{Name: c.name, Status: status, Detail: detail, Optional: true}
	case c.hung.Load() >= maxHung:
		return c.result(fmt.Errorf("no answer: %d earlier probes ignore their deadline and still run", maxHung))
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
		return c.check(ctx)
	})
	if !returned && !ended.Swap(true) {
		c.hung.Add(1)
	}
	result := c.result(err)
	result.Took = time.Since(began)
	return result
}

func (c *component) result(err error) CheckResult {
	r := CheckResult{Name: c.name, Status: "ok", Err: err, Optional: c.optional}
	if err != nil {
		r.Status = failing
		if c.optional {
			r.Status = degraded
		}
	}
	return r
}

// watchPause is between two rounds of the App's own.
const watchPause = 5 * time.Second

// watchHealth probes what has started, until ctx ends.
func (a *App) watchHealth(ctx context.Context) {
	for ctx.Err() == nil {
		started := slices.DeleteFunc(slices.Clone(a.all), func(c *component) bool { return !c.up() })
		r := a.round(ctx, time.Millisecond)
		select {
		case <-r.done:
			for i, c := range a.all {
				if slices.Contains(started, c) {
					a.note(c, r.checks[i])
				}
			}
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(watchPause):
		case <-ctx.Done():
		}
	}
}

// note logs the beginning and the end of the time in which c does not work.
func (a *App) note(c *component, r CheckResult) {
	switch down := r.Err != nil || r.Status == degraded; {
	case down == !c.downFrom.IsZero():
	case !down:
		a.options.Logger.Info("component works again", "component", c.name, "after", time.Since(c.downFrom).Round(time.Millisecond).String())
		c.downFrom = time.Time{}
	default:
		c.downFrom = time.Now()
		reason, log := r.Detail, a.options.Logger.Error
		if r.Err != nil {
			reason = r.Err.Error()
		}
		if c.optional {
			log = a.options.Logger.Warn
		}
		log("component does not work", "component", c.name, "status", r.Status, "error", reason)
	}
}
