package ratelimit

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Bounds of a Limit. Intervals are rounded to the nearest nanosecond, so at rates up to maxRate the
// error of the interval between two calls is at most 0.5 %.
const (
	maxRate   = 1e7
	maxWindow = 365 * 24 * time.Hour
)

// Limit is the maximum call rate of a key: Burst calls at once, and Rate calls per
// second on average.
//
// As in golang.org/x/time/rate, the zero Limit rejects every call, and an infinite Rate ([Off])
// allows every call. A Limit that is invalid ([Limit.Validate]) rejects every call.
type Limit struct {
	Rate  float64 // calls per second, above 0 and at most 1e7, or infinite
	Burst int     // calls at once, from 1 to math.MaxInt32; Burst/Rate is at most a year
}

// Off returns the Limit that allows every call; its text form is "off".
func Off() Limit {
	return Limit{Rate: math.Inf(1)}
}

// Per returns the Limit of n calls per d, all of which may be made at once. d must be above 0.
func Per(n int, d time.Duration) Limit {
	return Limit{Rate: float64(n) / d.Seconds(), Burst: n}
}

// IsOff reports whether l allows every call.
func (l Limit) IsOff() bool {
	return math.IsInf(l.Rate, 1)
}

// Window returns the time in which an empty bucket becomes full, Burst/Rate. It
// is 0 for a Limit that is off or invalid.
func (l Limit) Window() time.Duration {
	if l.IsOff() || l.Validate() != nil {
		return 0
	}
	return time.Duration(math.Round(float64(l.Burst) / l.Rate * float64(time.Second)))
}

// Validate returns an error if Rate, Burst or Burst/Rate is out of bounds. A Limit that is off is
// valid.
func (l Limit) Validate() error {
	if err := l.check(); err != nil {
		return fmt.Errorf("ratelimit: %w", err)
	}
	return nil
}

// check returns the error of [Limit.Validate] without the name of the package.
func (l Limit) check() error {
	switch {
	case l.IsOff():
		return nil
	case math.IsNaN(l.Rate) || l.Rate <= 0 || l.Rate > maxRate:
		return fmt.Errorf("rate %v/s must be above 0 and at most %.0f/s", l.Rate, float64(maxRate))
	case l.Burst < 1 || l.Burst > math.MaxInt32:
		return fmt.Errorf("burst %d must be from 1 to %d", l.Burst, math.MaxInt32)
	case float64(l.Burst)/l.Rate > maxWindow.Seconds():
		return fmt.Errorf("burst %d at %v/s takes more than a year to refill; raise the rate or lower the burst", l.Burst, l.Rate)
	}
	return nil
}

func (l Limit) interval() time.Duration {
	return time.Duration(math.Round(float64(time.Second) / l.Rate))
}

var errSyntax = errors.New(`want calls per time with an optional burst, as in "100/1m", "20/s burst 40", or "off"`)

// ParseLimit parses the text form of a Limit: CALLS/DURATION, optionally followed by "burst N".
// "100/1m" is [Per](100, time.Minute), "20/s burst 40" allows 40 calls at once, "0.5/s burst 1"
// allows one call every two seconds, and "off" is [Off]. DURATION has the format of
// [time.ParseDuration]; a unit without a number means one unit. Without a burst, CALLS must be an
// integer, which is also the burst. ParseLimit returns an error if text has another form or the
// Limit is invalid.
func ParseLimit(text string) (Limit, error) {
	l, err := parse(strings.Fields(text))
	if err == nil {
		err = l.check()
	}
	if err != nil {
		return Limit{}, fmt.Errorf("ratelimit: limit %.40q: %w", text, err)
	}
	return l, nil
}

func parse(words []string) (Limit, error) {
	switch {
	case len(words) == 1 && words[0] == "off":
		return Off(), nil
	case len(words) == 1:
		return parseRate(words[0])
	case len(words) == 3 && words[1] == "burst":
		return parseBurst(words[0], words[2])
	}
	return Limit{}, errSyntax
}

// parseRate parses a limit without a burst, such as "100/1m". The number of calls is
// also the burst.
func parseRate(text string) (Limit, error) {
	calls, d, err := parseQuotient(text)
	if err != nil {
		return Limit{}, err
	}
	if calls != math.Trunc(calls) {
		return Limit{}, fmt.Errorf(`%v calls are not a whole number, so a burst is required, as in "0.5/s burst 1"`, calls)
	}
	if calls > math.MaxInt32 {
		return Limit{}, fmt.Errorf(`%v calls are more than the maximum burst of %d, so a burst is required, as in "20/s burst 40"`, calls, math.MaxInt32)
	}
	return Per(int(calls), d), nil
}

func parseBurst(quotient, burst string) (Limit, error) {
	calls, d, err := parseQuotient(quotient)
	if err != nil {
		return Limit{}, err
	}
	n, err := strconv.ParseInt(burst, 10, 32)
	if err != nil {
		return Limit{}, fmt.Errorf("burst %.20q: want a whole number from 1 to %d", burst, math.MaxInt32)
	}
	return Limit{Rate: calls / d.Seconds(), Burst: int(n)}, nil
}

// parseQuotient parses CALLS/DURATION. CALLS must be a plain decimal: the other formats of strconv
// ("inf", "0x1p3") are probably mistakes. A DURATION without a number means one unit, as in "100/s".
func parseQuotient(text string) (calls float64, d time.Duration, err error) {
	before, after, found := strings.Cut(text, "/")
	if !found || strings.Trim(before, "0123456789.") != "" {
		return 0, 0, errSyntax
	}
	if calls, err = strconv.ParseFloat(before, 64); err != nil {
		return 0, 0, errSyntax
	}
	if after != "" && strings.IndexByte("0123456789.", after[0]) < 0 {
		after = "1" + after
	}
	if d, err = time.ParseDuration(after); err != nil {
		return 0, 0, errSyntax
	}
	if d <= 0 {
		return 0, 0, errors.New("the time after the slash must be above 0")
	}
	return calls, d, nil
}

// String returns the text form of l. If l is valid, ParseLimit returns l for this string.
func (l Limit) String() string {
	if l.IsOff() {
		return "off"
	}
	for _, unit := range []struct {
		name  string
		every time.Duration
	}{{"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}} {
		calls := math.Round(l.Rate * unit.every.Seconds())
		if calls/unit.every.Seconds() == l.Rate {
			return l.text(calls, unit.name)
		}
	}
	return l.text(l.Rate, "s")
}

func (l Limit) text(calls float64, unit string) string {
	text := strconv.FormatFloat(calls, 'f', -1, 64) + "/" + unit
	if calls == float64(l.Burst) {
		return text
	}
	return text + " burst " + strconv.Itoa(l.Burst)
}

// MarshalText returns the text form of l. The error is always nil.
func (l Limit) MarshalText() ([]byte, error) {
	return []byte(l.String()), nil
}

// UnmarshalText sets l to the Limit with the given text form. If the text is invalid, it returns
// the error of [ParseLimit] and does not change l.
func (l *Limit) UnmarshalText(text []byte) error {
	parsed, err := ParseLimit(string(text))
	if err != nil {
		return err
	}
	*l = parsed
	return nil
}
