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
	Checks []CheckResult // in the order of addition; none for a started component without Check
}

// CheckResult is the state of one component, check or status of an [App].
type CheckResult struct {
	Name string
	// Status is "ok", "starting" until a component has started ("degraded" if Optional and Start
	// fails), "failing" ("degraded" if Optional) in an outage, or that of the AddStatus function.
	Status string
	Err    error         // of the probe or of the last attempt to start; nil if there is none
	Took   time.Duration // of the probe; 0 without a probe
	Detail string        // from the AddStatus function, or why a component has not begun to start

	Optional bool // whether the App can be ready without it
}

// component is a [Component], or a check or status that was added to the App, with its state.
type component struct {
	Component // nil for a check or a status
	name      string
	optional  bool
	check     func(context.Context) error
	inform    func() (status, detail string) // of a status, instead of check
	pending   atomic.Pointer[CheckResult]    // state of a component that has not started
	hung      atomic.Int32                   // abandoned probes that still run
	downFrom  time.Time                      // beginning of the outage; zero while it works
	logged    bool                           // whether the App has logged the outage
}

func (c *component) up() bool { return c.pending.Load() == nil }

// unseen reports whether c is a [Component] that has started and has no Check.
func (c *component) unseen() bool { return c.Component != nil && c.check == nil && c.up() }

// The statuses of a component that does not work: failing if it is required, degraded if optional.
const failing, degraded = "failing", "degraded"

// maxHung is the maximum number of abandoned probes of one component that still run.
const maxHung = 16

// Health probes all dependencies concurrently, each with the timeout CheckTimeout, and returns
// the result. The App is ready while it serves and everything that is not optional works.
func (a *App) Health(ctx context.Context) Health { return a.health(a.probeAll(ctx)) }

func (a *App) health(checks []CheckResult, working bool) Health {
	state := a.currentState()
	checks = slices.DeleteFunc(slices.Clone(checks), func(c CheckResult) bool { return c.Name == "" })
	return Health{Ready: state == serving && working, State: state.String(), Checks: checks}
}

// RecentHealth returns the state of the App. Unlike [App.Health], it reuses the results of probes
// that are running or began within age, unless a component has started since. However often it is
// called, it thus probes each dependency at most once per age, and usually never for an age of 10 s
// or more while the App runs. State and the results of the functions given to [App.AddStatus] are
// always current. If ctx is done before the probes end, all checks fail with ctx.Err().
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
	done    chan struct{} // closed when checks and working are set
	checks  []CheckResult // one for each element of App.all; zero for an unseen component
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
// new one, which continues when ctx is done, because other goroutines may wait for it.
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

// probe returns the state of c. It runs the check of c if c has started, and abandons a check that
// ignores its context, so that a blocked driver does not block the response.
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
		return c.result(fmt.Errorf("not probed: %d earlier probes have ignored the cancellation of their contexts and are still running", maxHung))
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

// informed returns the result of the function given to AddStatus. If the function panics, the
// status is degraded.
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

// watchPause is the pause between two rounds that the App makes itself.
const watchPause = 5 * time.Second

// watchHealth probes the components until ctx is done, and logs the outages of the started ones.
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

// note logs when an outage of c begins or ends, according to r, the result of the latest probe. It
// does not log an outage that c logs itself.
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
