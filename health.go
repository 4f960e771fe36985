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
	Ready  bool          // whether new work is accepted
	State  string        // "starting", "serving", "draining", "stopped"
	Checks []CheckResult // one for each dependency, in the order they were added
}

// CheckResult is the outcome of one probe.
type CheckResult struct {
	Name string
	// Status is "ok"; "starting" until a component has started; "failing", or "degraded" if it is
	// optional, while it does not work; or the status that App.AddStatus's function returned.
	Status string
	Err    error // nil if the dependency works or is not probed
	Took   time.Duration
	Detail string // from App.AddStatus's function, or why a component has not begun to start

	Optional bool // whether the app is ready without it
}

// component is an entry of [Health]: a component, or a check or status that was added to the App.
type component struct {
	Component // nil for a check or a status
	name      string
	optional  bool
	check     func(context.Context) error
	inform    func() (status, detail string) // instead of check
	pending   atomic.Pointer[CheckResult]    // of a component that has not started
	hung      atomic.Int32                   // abandoned probes that still run
	downFrom  time.Time                      // zero while it works
	logged    bool                           // whether the App has logged the outage
}

func (c *component) up() bool { return c.pending.Load() == nil }

// unseen reports whether a component has started and has no Check.
func (c *component) unseen() bool { return c.Component != nil && c.check == nil && c.up() }

// Statuses of a failing component: required and optional.
const failing, degraded = "failing", "degraded"

// maxHung is the maximum number of abandoned probes of one component that still run.
const maxHung = 16

// Health probes all dependencies now, concurrently, each with the timeout CheckTimeout. The App
// is ready while it serves and all components that are not optional work.
func (a *App) Health(ctx context.Context) Health { return a.health(a.probeAll(ctx)) }

func (a *App) health(checks []CheckResult, working bool) Health {
	state := a.currentState()
	checks = slices.DeleteFunc(slices.Clone(checks), func(c CheckResult) bool { return c.Name == "" })
	return Health{Ready: state == serving && working, State: state.String(), Checks: checks}
}

// RecentHealth is like Health, but reuses the results of probes that are running or began
// within age. Each dependency is therefore probed at most once per age, however many goroutines
// call RecentHealth; for an age of 10 s or more it makes no probe while the App runs. State and
// the results of the functions given to [App.AddStatus] are always current. If ctx ends before
// the probes do, all checks fail with the error of ctx.
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

// round is one run of all probes.
type round struct {
	began   time.Time
	done    chan struct{} // closed when the rest is set
	checks  []CheckResult // of each component; the zero value for a component without a check
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

// rounds holds the latest round.
type rounds struct {
	mu     sync.Mutex
	latest *round
}

// round returns the latest round if it is running or began within age. Otherwise it begins a
// new one, which continues when ctx ends, because other goroutines may wait for it.
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

// markUp marks c as started, and discards the latest round, which is outdated.
func (a *App) markUp(c *component) {
	a.rounds.mu.Lock()
	defer a.rounds.mu.Unlock()
	c.pending.Store(nil)
	a.rounds.latest = nil
}

// probe returns the state of c, which it checks if c has started. It abandons a check that ignores
// its context, so that a blocked driver does not block the response.
func (a *App) probe(ctx context.Context, c *component) CheckResult {
	switch pending := c.pending.Load(); {
	case pending != nil:
		result := *pending
		result.Optional = c.optional
		return result
	case c.unseen():
		return CheckResult{}
	case c.inform != nil:
		return c.informed()
	case c.hung.Load() >= maxHung:
		return c.result(fmt.Errorf("no response: %d earlier probes ignore their deadline and still run", maxHung))
	}
	ctx, cancel := context.WithTimeout(ctx, a.options.CheckTimeout)
	defer cancel()
	began := time.Now()
	var ended atomic.Bool // whether the probe has returned or was abandoned
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

// informed returns the result of the function given to AddStatus.
func (c *component) informed() (r CheckResult) {
	defer func() {
		if err := Recovered(recover()); err != nil {
			r = CheckResult{Name: c.name, Status: degraded, Err: err, Optional: true}
		}
	}()
	status, detail := c.inform()
	return CheckResult{Name: c.name, Status: status, Detail: detail, Optional: true}
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

// watchPause is the interval of the App's own rounds.
const watchPause = 5 * time.Second

// watchHealth probes the components until ctx ends, and logs the outages of those that have started.
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

// note logs the beginning and the end of an outage of c, unless the component does so itself.
func (a *App) note(c *component, r CheckResult) {
	switch down := r.Err != nil || r.Status == degraded; {
	case down == !c.downFrom.IsZero():
	case !down:
		if c.logged {
			a.options.Logger.Info("component works again", "component", c.name, "after", time.Since(c.downFrom).Round(time.Millisecond).String())
		}
		c.downFrom, c.logged = time.Time{}, false
	default:
		c.downFrom = time.Now()
		if s, ok := c.Component.(interface{ LogsOutage() bool }); ok && s.LogsOutage() {
			return
		}
		c.logged = true
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
