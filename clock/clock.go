// Package clock provides the time of a source that several processes share, such as their
// database, so that stored times expire at the same moment for all of them, whatever the
// clocks of their machines show.
//
// A [Clock] reads the source every five seconds. Between two readings it uses the monotonic
// clock of the process, which is not affected when the machine's clock is set.
//
// # Steps of the source
//
// If the source's clock is set forward, [Clock.Now] follows at the next reading. If it is set
// back, Now does not go back, so that what has expired stays expired. Instead, Now advances
// at four fifths of normal speed until the source has caught up, so that durations are
// extended by at most a quarter. The highest time reached is stored at the source, for other
// processes and for restarts. If the clock is set back by more than 36 hours, it is assumed to
// have been wrong before, and Now follows at the next reading.
//
// [Clock.Source] always follows the source's clock. Use it for times that are read by programs
// that do not share the source.
package clock

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi/internal/contain"
)

const (
	interval = 5 * time.Second
	// tick is the interval of checks for a step of the machine's clock.
	tick    = time.Second
	timeout = 10 * time.Second // timeout of one measurement
	// bound is the minimum difference between clocks that is reported.
	bound = 2 * time.Second
	// maxAhead is the maximum time by which Now is ahead of a source whose clock was set back.
	maxAhead = 36 * time.Hour
	// keepInterval is the interval at which the highest time is stored at the source.
	keepInterval = time.Minute
)

// Options configures a [Clock].
type Options struct {
	Name string // name of the source in logs, such as "database"

	// Read returns the time of the source's clock and the highest time passed to Keep, or the zero
	// time if Keep has not been called.
	Read func(ctx context.Context) (now, highest time.Time, err error)

	// Keep stores highest at the source if the time stored there still equals replaced, which was
	// the result highest of Read. If Keep is nil, the highest time is not stored.
	Keep func(ctx context.Context, replaced, highest time.Time) error

	// Compare contains functions that read other clocks, by name. These clocks are only compared
	// with this machine's clock.
	Compare map[string]func(context.Context) (time.Time, error)

	Logger *slog.Logger // nil means slog.Default()

	// Machine replaces the machine's clocks in tests. It returns the time of the wall clock and the
	// time that has passed on the monotonic clock since a fixed moment.
	Machine func() (shown time.Time, running time.Duration)
}

// Clock provides the time of a source. It is safe for concurrent use.
type Clock struct {
	options   Options
	measuring sync.Mutex
	reading   atomic.Pointer[reading]

	mu          sync.Mutex
	differences map[string]*difference

	stop    context.CancelFunc
	running sync.WaitGroup
}

// reading is one reading of the source. It is immutable.
type reading struct {
	at     time.Duration // when the response came, by the monotonic clock
	trip   time.Duration // round-trip time of the reading
	source time.Time     // time of the source at that moment or up to one trip before
	floor  time.Time     // time of Now at that moment, at least source
}

// shown returns the time of the source at the moment at, which is after the reading.
func (r *reading) shown(at time.Duration) time.Time { return r.source.Add(at - r.at) }

// now returns the result of [Clock.Now] at the moment at, which is after the reading: the time of
// the source, or floor advanced at four fifths of normal speed, whichever is later.
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

// New returns a clock that shows the machine's time until [Clock.Measure] has read the source.
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

// Now returns the time with which expiry times are compared. After the first successful measurement
// it never decreases, unless the source is set back by more than 36 hours.
func (c *Clock) Now() time.Time {
	shown, at := c.options.Machine()
	if r := c.reading.Load(); r != nil {
		return r.now(at)
	}
	return shown
}

// Source returns the time of the source's clock, or the machine's time until the source has been
// read for the first time.
func (c *Clock) Source() time.Time {
	shown, at := c.options.Machine()
	if r := c.reading.Load(); r != nil {
		return r.shown(at)
	}
	return shown
}

// Measure reads the source and the clocks of Options.Compare. It returns the error of Options.Read
// or Options.Keep. It ignores the errors of the functions in Options.Compare.
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
		// The reading is up to one round trip old. If the expected time is in that range it
		// is kept: otherwise a slow response would look like a clock that was set back.
		if expected := old.shown(at); expected.After(now) && expected.Sub(now) <= r.trip {
			r.source = expected
		}
		r.floor = later(r.floor, old.now(at))
	}
	if r.floor.Sub(r.source) > maxAhead {
		r.floor = r.source
	}
	c.reading.Store(r)
	c.compared(ctx, c.options.Name, shown, now, r.trip)
	c.reportSteps(ctx, old, r)
	return c.keep(ctx, highest, r)
}

// keep stores the highest time that was reached: at each measurement while that time is ahead of
// the source by bound or more, or lower than the stored time, and otherwise at intervals of
// keepInterval.
func (c *Clock) keep(ctx context.Context, kept time.Time, r *reading) error {
	more := r.floor.Sub(kept)
	if c.options.Keep == nil || more == 0 || more > 0 && more < keepInterval && r.floor.Sub(r.source) < bound {
		return nil
	}
	if err := c.options.Keep(ctx, kept, r.floor); err != nil {
		return fmt.Errorf("store the highest time at the %s: %w", c.options.Name, err)
	}
	return nil
}

// Start starts a goroutine that measures periodically until Stop is called. It returns nil at once.
func (c *Clock) Start(context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	c.stop = cancel
	c.running.Go(func() { c.run(ctx) })
	return nil
}

// Stop ends the periodic measurements, waits for one that is in progress, and returns nil.
func (c *Clock) Stop(context.Context) error {
	if c.stop != nil {
		c.stop()
	}
	c.running.Wait()
	return nil
}

// run measures every interval, and at once if the machine's clock has been set, until ctx is done.
// A suspension of the machine has the same effect, because the monotonic clock stops meanwhile.
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

// try measures once. It logs an error only at the level Debug, because other components report that
// the source is unavailable.
func (c *Clock) try(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var err error
	contain.Run(c.options.Logger, "the functions given to a clock", func() { err = c.Measure(ctx) })
	if err != nil {
		c.options.Logger.DebugContext(ctx, "clock", "error", err.Error())
	}
}

// reportSteps logs when the source's clock was set, when it is behind the time reached before, and
// when it has caught up.
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

// Ahead returns how far Now is ahead of the source. The result is zero unless the source was set
// back.
func (c *Clock) Ahead() time.Duration {
	_, at := c.options.Machine()
	if r := c.reading.Load(); r != nil {
		return r.ahead(at)
	}
	return 0
}

// String returns a description of the differences between the clocks for operators, or "not
// measured yet".
func (c *Clock) String() string {
	text := c.describe()
	if ahead := c.Ahead(); ahead >= bound {
		text += fmt.Sprintf("; the clock of the %s was set back and catches up: %v behind the time that was reached", c.options.Name, ahead.Round(time.Second))
	}
	return cmp.Or(text, "not measured yet")
}
