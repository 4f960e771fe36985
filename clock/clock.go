// Package clock tells the time by the clock of a source that several processes share, such
// as their database, so that what one of them stores with a time ends at the same moment for
// all, whatever the clocks of their machines say.
//
// The source is asked every five seconds. Between two answers time goes on by the monotonic
// clock of the process, which does not follow when the machine's clock is set.
//
// # Steps of the source
//
// When the source's clock is set forward, [Clock.Now] follows with the next answer. When it
// is set back, Now does not: what has ended stays ended. It goes on at four fifths of its
// speed until the source has caught up, so that nothing lasts more than a quarter longer
// than it should. The highest time that was reached is kept at the source, for other
// processes and for after a restart. A clock that is set back by more than 36 hours was
// wrong before, and is followed at once.
//
// [Clock.Source] does follow: it is what the source's clock shows, for what others read who
// do not share the source.
package clock

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	interval = 5 * time.Second
	// tick is how soon a step of the machine's clock is noticed.
	tick    = time.Second
	timeout = 10 * time.Second // of one question
	// bound is the difference from which on it is reported.
	bound = 2 * time.Second
	// maxAhead is how far Now may be ahead of the source, whose clock was set back.
	maxAhead = 36 * time.Hour
	// keepInterval is how exactly the highest time is kept at the source.
	keepInterval = time.Minute
)

// Options are what a [Clock] is made from.
type Options struct {
	Name string // of the source, for logs: "database"

	// Read returns what the source's clock shows, and the highest time that was ever reported
	// to Keep, zero for none.
	Read func(ctx context.Context) (now, highest time.Time, err error)

	// Keep replaces the highest time, unless it is no longer the one that Read returned. Nil
	// means not to keep it.
	Keep func(ctx context.Context, replaced, highest time.Time) error

	// Compare reads other clocks, by their names, which are only compared with this machine's.
	Compare map[string]func(context.Context) (time.Time, error)

	Logger *slog.Logger // default slog.Default()

	// Machine replaces the clocks of the machine, for tests: what it shows, and how long it
	// has been running.
	Machine func() (shown time.Time, running time.Duration)
}

// Clock is safe for concurrent use.
type Clock struct {
	options   Options
	measuring sync.Mutex
	reading   atomic.Pointer[reading]

	mu          sync.Mutex
	differences map[string]*difference

	stop    context.CancelFunc
	running sync.WaitGroup
}

// reading is one answer of the source. It does not change.
type reading struct {
	at     time.Duration // when it came, by the monotonic clock
	trip   time.Duration // how long it took
	source time.Time     // what the source showed then, or up to a trip before
	floor  time.Time     // what Now returned then, at least source
}

// shown returns what the source shows at a moment after the reading.
func (r *reading) shown(at time.Duration) time.Time { return r.source.Add(at - r.at) }

// now returns the time that does not run back.
func (r *reading) now(at time.Duration) time.Time {
	return later(r.shown(at), r.floor.Add((at-r.at)/5*4))
}

func (r *reading) ahead(at time.Duration) time.Duration { return r.now(at).Sub(r.shown(at)) }

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// New makes a clock that shows the machine's time until [Clock.Measure] has succeeded.
func New(o Options) *Clock {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Machine == nil {
		start := time.Now()
		o.Machine = func() (time.Time, time.Duration) {
			now := time.Now()
			return now.Round(0), now.Sub(start) // by the monotonic clock
		}
	}
	return &Clock{options: o, differences: make(map[string]*difference)}
}

// Now returns the time that decides. It never runs back.
func (c *Clock) Now() time.Time {
	shown, at := c.options.Machine()
	if r := c.reading.Load(); r != nil {
		return r.now(at)
	}
	return shown
}

// Source returns what the source's clock shows.
func (c *Clock) Source() time.Time {
	shown, at := c.options.Machine()
	if r := c.reading.Load(); r != nil {
		return r.shown(at)
	}
	return shown
}

// Measure asks the source, and the clocks to compare, which need not answer.
func (c *Clock) Measure(ctx context.Context) error {
	c.measuring.Lock()
	defer c.measuring.Unlock()
	err := c.measure(ctx)
	for name, read := range c.options.Compare {
		shown, from := c.options.Machine()
		if now, err := read(ctx); err == nil {
			_, at := c.options.Machine()
			c.compared(ctx, name, shown, now, at-from)
		}
	}
	return err
}

func (c *Clock) measure(ctx context.Context) error {
	shown, from := c.options.Machine()
	now, highest, err := c.options.Read(ctx)
	if err != nil {
		return fmt.Errorf("read the clock of the %s: %w", c.options.Name, err)
	}
	_, at := c.options.Machine()
	r, old := &reading{at: at, trip: at - from, source: now, floor: later(now, highest)}, c.reading.Load()
	if old != nil {
		r.floor = later(r.floor, old.now(at))
	}
	if r.floor.Sub(now) > maxAhead {
		r.floor = now
	}
	c.reading.Store(r)
	c.compared(ctx, c.options.Name, shown, now, r.trip)
	c.reportSteps(ctx, old, r)
	return c.keep(ctx, highest, r)
}

// keep stores the highest time once in a while, and often while that is ahead of the source.
func (c *Clock) keep(ctx context.Context, kept time.Time, r *reading) error {
	more := r.floor.Sub(kept)
	if c.options.Keep == nil || more == 0 || more > 0 && more < keepInterval && r.floor.Sub(r.source) < bound {
		return nil
	}
	if err := c.options.Keep(ctx, kept, r.floor); err != nil {
		return fmt.Errorf("keep the highest time: %w", err)
	}
	return nil
}

// Start measures from now on until Stop.
func (c *Clock) Start(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	c.stop = cancel
	c.running.Go(func() { c.run(ctx) })
	return nil
}

// Stop ends what Start began.
func (c *Clock) Stop(context.Context) error {
	if c.stop != nil {
		c.stop()
	}
	c.running.Wait()
	return nil
}

// run asks every interval, and at once when the machine's clock has made a step, which it
// also does when the machine was suspended: then the monotonic clock stood still.
func (c *Clock) run(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	shown, at := c.options.Machine()
	for due := at; ; {
		nowShown, now := c.options.Machine()
		if step := nowShown.Sub(shown) - (now - at); step.Abs() > bound/2 {
			due = now
			c.options.Logger.WarnContext(ctx, "the clock of this machine was set, or the machine was suspended", "by_seconds", seconds(step))
		}
		shown, at = nowShown, now
		if now >= due {
			due = now + interval
			c.try(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// try measures. That the source cannot be used is for others to report.
func (c *Clock) try(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := c.Measure(ctx); err != nil {
		c.options.Logger.DebugContext(ctx, "clock", "error", err.Error())
	}
}

// reportSteps logs what is new about the source's own clock.
func (c *Clock) reportSteps(ctx context.Context, old, r *reading) {
	var was time.Duration
	if old != nil {
		was = old.floor.Sub(old.source)
		if step := r.source.Sub(old.shown(r.at)); step > bound+old.trip || -step > bound+r.trip {
			c.options.Logger.WarnContext(ctx, "the clock of the "+c.options.Name+" was set", "by_seconds", seconds(step))
		}
	}
	switch is := r.floor.Sub(r.source); {
	case is >= bound && was < bound:
		c.options.Logger.WarnContext(ctx, "the clock of the "+c.options.Name+" is behind the time that was reached before: "+
			"what has ended stays ended, and time goes on more slowly until the clock has caught up", "behind_seconds", seconds(is))
	case is < bound && was >= bound:
		c.options.Logger.InfoContext(ctx, "the clock of the "+c.options.Name+" has caught up")
	}
}

func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }

// Ahead returns how far Now is ahead of the source, whose clock was set back: zero as a
// rule.
func (c *Clock) Ahead() time.Duration {
	_, at := c.options.Machine()
	if r := c.reading.Load(); r != nil {
		return r.ahead(at)
	}
	return 0
}

// String describes the clock for people, see [Clock.Differs].
func (c *Clock) String() string {
	text := c.describe()
	if ahead := c.Ahead(); ahead >= bound {
		text += fmt.Sprintf("; the clock of the %s was set back and catches up: %v behind the time that was reached", c.options.Name, ahead.Round(time.Second))
	}
	return cmp.Or(text, "not measured yet")
}
