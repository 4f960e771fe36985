package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// notRun is the error for a cell that cannot be measured on this machine. It contains the reason.
type notRun struct{ reason string }

func (e notRun) Error() string { return e.reason }

// Timeouts and durations of the phases of a cell.
const (
	startPatience   = 2 * time.Minute  // timeout until a node works after its start
	recoverPatience = 90 * time.Second // timeout until everything works after the fault
	calm            = time.Second      // duration of traffic before the fault and after the recovery
)

// result contains the measurements of one cell.
type result struct {
	cell    *cell
	notRun  string              // why the cell was not measured
	err     error               // why the measurement failed
	began   time.Time           // when the fault had begun
	ended   time.Time           // when the end of the fault was initiated
	back    time.Time           // when the fault had ended
	over    time.Time           // when the traffic ended
	slowest time.Duration       // the maximum duration of a call that the fault does not affect
	fault   map[string][]sample // calls during the fault, by probe
	after   map[string][]sample // calls after the fault, by probe
	before  map[string][]sample // calls before the fault, by probe
	calm    time.Time           // when everything worked before the fault, or when the node was launched
	read    []reading           // the readiness statuses during the fault
	missing []string            // probes that did not recover
	first   time.Duration       // from back until every probe had succeeded once
	last    time.Duration       // from back until the last failure
	stored  int                 // the number of addresses whose sign-up was acknowledged
	lost    []string            // addresses whose sign-up was acknowledged and that are not stored
	doubled int                 // the number of sign-ups that were carried out twice
	begins  []line              // warnings and errors of the log during the fault
	ends    []line              // lines of the log after the fault
	died    bool                // whether the node ended by itself before it served
	exit    string              // how the node ended
	tail    string              // the last lines of the log
}

// minSlow is the minimum value of result.slowest.
const minSlow = 4 * time.Second

// runner measures cells on the same servers.
type runner struct {
	servers  *servers
	program  string
	hold     time.Duration // the minimum duration of a fault
	parallel int
	progress io.Writer
}

// run measures cells, up to r.parallel of them concurrently, and returns their results in the order
// of cells.
func (r *runner) run(ctx context.Context, cells []*cell) []*result {
	results := make([]*result, len(cells))
	next := make(chan int)
	var workers sync.WaitGroup
	for range r.parallel {
		workers.Go(func() {
			for i := range next {
				began := time.Now()
				results[i] = r.measure(ctx, cells[i])
				verdict := "holds"
				if problems := results[i].problems(); len(problems) > 0 {
					verdict = "DOES NOT HOLD: " + strings.Join(problems, "; ")
				} else if results[i].notRun != "" {
					verdict = "not run: " + results[i].notRun
				}
				fmt.Fprintf(r.progress, "%s (%.0f s): %s\n", cells[i], time.Since(began).Seconds(), verdict)
			}
		})
	}
	for i := range cells {
		next <- i
	}
	close(next)
	workers.Wait()
	return results
}

// measure measures one cell in a new environment and returns the result.
func (r *runner) measure(ctx context.Context, c *cell) *result {
	res := &result{cell: c}
	w, err := newWorld(r.servers, r.program)
	if err == nil {
		err = errors.Join(r.within(ctx, w, res), w.close())
	}
	if reason, ok := errors.AsType[notRun](err); ok {
		res.notRun = reason.reason
	} else {
		res.err = err
	}
	return res
}

func (r *runner) within(ctx context.Context, w *world, res *result) (err error) {
	c := res.cell
	w.later(func() error { w.clients.close(); return nil })
	if err := c.prepare(ctx, w); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	if c.atStart {
		if err := c.begin(ctx, w); err != nil {
			return fmt.Errorf("start the fault: %w", err)
		}
	}
	if w.node, err = launch(ctx, w.program, w.dir, w.stderr, w.env, w.args); err != nil {
		return err
	}
	defer w.node.stop()
	if err := w.clients.dial(w.node); err != nil {
		return err
	}
	t := newTraffic(w.node, &w.clients, strings.ReplaceAll(w.name, "_", "-"))
	defer t.stop()
	if err := r.phases(ctx, w, t, res); err != nil {
		return fmt.Errorf("%w; end of the log:\n%s", err, w.node.tail(10))
	}
	t.stop()
	res.before, res.after = t.window(time.Time{}, res.began), t.window(res.back, res.over)
	res.fault = t.window(res.began, res.ended)
	res.read = t.readings(res.began, res.ended)
	res.begins = w.node.notable(res.calm, res.ended, "WARN", "ERROR")
	res.ends = w.node.notable(res.ended, res.over, "INFO", "WARN", "ERROR")
	res.exit, res.tail = w.node.stop(), w.node.tail(15)
	if c.end == nil && c.atStart || res.died { // what begins at start ends with the process
		_ = endFault(ctx, w, c)
	}
	return r.count(ctx, w, t, res)
}

func endFault(ctx context.Context, w *world, c *cell) error {
	if c.end == nil {
		return nil
	}
	return c.end(ctx, w)
}

// phases runs the three phases before, during and after the fault, and records their times and
// measurements in res.
func (r *runner) phases(ctx context.Context, w *world, t *traffic, res *result) error {
	c := res.cell
	launched := time.Now()
	must := t.probes
	if c.atStart {
		must = func() []string { return c.expect.up }
	}
	missing := await(ctx, startPatience, func() []string {
		if w.node.hasEnded() {
			return nil
		}
		return t.missing(launched, must())
	})
	if w.node.hasEnded() && c.expect.refuses != "" {
		res.died, res.began, res.ended, res.back, res.over = true, launched, time.Now(), time.Now(), time.Now()
		return nil
	}
	if w.node.hasEnded() {
		return fmt.Errorf("authd exited by itself (%s) before the measurement", exitText(w.node.state))
	}
	if len(missing) > 0 && !c.atStart {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("not working within %v of the start of authd, before the fault: %s", startPatience, strings.Join(missing, ", "))
	}
	pause(ctx, calm)
	if res.calm = launched; !c.atStart {
		res.calm = time.Now()
		if err := c.begin(ctx, w); err != nil {
			return fmt.Errorf("start the fault: %w", err)
		}
	}
	res.began = time.Now()
	// On a busy machine it takes longer to detect that a call waits until the fault ends.
	res.slowest = min(max(minSlow, 3*t.slowest(launched)), callTimeout)
	pause(ctx, max(r.hold, res.slowest+2*time.Second))
	res.ended = time.Now()
	if err := endFault(ctx, w, c); err != nil {
		return fmt.Errorf("end the fault: %w", err)
	}
	res.back = time.Now()
	r.recovery(ctx, w, t, res)
	return nil
}

// recovery waits until everything works again, recoverPatience has passed, or ctx is done, and
// records in res what still does not work.
func (r *runner) recovery(ctx context.Context, w *world, t *traffic, res *result) {
	taken := int64(0)
	if w.collector != nil {
		taken = w.collector.taken.Load()
	}
	res.missing = await(ctx, recoverPatience, func() []string {
		missing := t.missing(res.back, t.probes())
		if w.collector != nil && w.collector.taken.Load() == taken {
			missing = append(missing, "traces")
		}
		return missing
	})
	pause(ctx, calm)
	res.over = time.Now()
}

// await calls ask repeatedly until ask returns an empty slice, patience has passed, or ctx is done.
// It returns the last result of ask.
func await(ctx context.Context, patience time.Duration, ask func() []string) []string {
	deadline := time.Now().Add(patience)
	for {
		missing := ask()
		if len(missing) == 0 || time.Now().After(deadline) || ctx.Err() != nil {
			return missing
		}
		pause(ctx, 50*time.Millisecond)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// count compares the acknowledged sign-ups with the stored ones, computes the duration of the
// recovery, and records the results in res.
func (r *runner) count(ctx context.Context, w *world, t *traffic, res *result) error {
	l, err := w.readLedger(ctx)
	if err != nil {
		return fmt.Errorf("read the stored data: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.Sort(t.stored)
	acknowledged := slices.Compact(t.stored)
	res.stored = len(acknowledged)
	for _, address := range acknowledged {
		if !l.addresses[address] {
			res.lost = append(res.lost, address)
		}
	}
	res.doubled = max(0, l.repeated-t.repeated)
	for _, samples := range res.after {
		first := true
		for _, s := range samples {
			switch {
			case s.outcome != good:
				res.last = max(res.last, s.ended.Sub(res.back))
			case first:
				first = false
				res.first = max(res.first, s.ended.Sub(res.back))
			}
		}
	}
	return nil
}
