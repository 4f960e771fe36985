package clock

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// difference is the measured difference between this machine's clock and another clock.
type difference struct {
	ahead    time.Duration // how far this machine's clock is ahead; negative if it is behind
	reported bool          // the difference exceeds the bound, and that was logged
}

// compared records the difference from the clock called name. That clock showed the time now when
// this machine's clock showed the time shown, or up to one round trip later. compared logs when the
// difference begins to exceed the bound by more than the round trip explains, and when it no longer
// does.
func (c *Clock) compared(ctx context.Context, name string, shown, now time.Time, trip time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.differences[name]
	if d == nil {
		d = new(difference)
		c.differences[name] = d
	}
	d.ahead = shown.Add(trip / 2).Sub(now)
	switch differs := d.ahead.Abs()-trip/2 > bound; {
	case differs && !d.reported:
		c.options.Logger.WarnContext(ctx, "the clock of this machine and that of the "+name+" differ: see Clocks in docs/operations.md",
			"ahead_seconds", seconds(d.ahead))
		d.reported = true
	case !differs && d.reported:
		c.options.Logger.InfoContext(ctx, "the clock of this machine and that of the "+name+" agree again", "ahead_seconds", seconds(d.ahead))
		d.reported = false
	}
}

// Differences returns the last measured differences between this machine's clock and other clocks,
// in seconds, by the name of the other clock. A difference is positive if this machine's clock was
// ahead, and negative if it was behind.
func (c *Clock) Differences() map[string]float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make(map[string]float64, len(c.differences))
	for name, d := range c.differences {
		all[name] = d.ahead.Seconds()
	}
	return all
}

// Differs reports whether this machine's clock differs from another clock by more than two seconds,
// or whether the source, after it was set back, is at least two seconds behind Now.
func (c *Clock) Differs() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.differences {
		if d.reported {
			return true
		}
	}
	return c.Ahead() >= bound
}

func (c *Clock) describe() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(c.differences)) {
		ahead := c.differences[name].ahead.Round(time.Millisecond)
		word := "ahead of"
		if ahead < 0 {
			word = "behind"
		}
		parts = append(parts, fmt.Sprintf("this machine is %v %s the %s", ahead.Abs(), word, name))
	}
	return strings.Join(parts, "; ")
}
