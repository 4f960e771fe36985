package ratelimit_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/ratelimit"
	"pgregory.net/rapid"
)

func TestParseLimit(t *testing.T) {
	t.Parallel()
	tests := map[string]ratelimit.Limit{
		"100/1m":            ratelimit.Per(100, time.Minute),
		"100/m":             {Rate: 100.0 / 60, Burst: 100},
		"5/10s":             {Rate: 0.5, Burst: 5},
		"20/s burst 40":     {Rate: 20, Burst: 40},
		" 20/s  burst  40 ": {Rate: 20, Burst: 40},
		"0.5/s burst 1":     {Rate: 0.5, Burst: 1},
		"1000/1h30m":        ratelimit.Per(1000, 90*time.Minute),
		"1/8760h":           ratelimit.Per(1, 365*24*time.Hour), // the longest time to refill
		"off":               ratelimit.Off(),
	}
	for text, want := range tests {
		got, err := ratelimit.ParseLimit(text)
		if err != nil || got != want {
			t.Errorf("ParseLimit(%q) = %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestParseLimitRefuses(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		"":                          "want calls per time",
		"100":                       "want calls per time",
		"100/":                      "want calls per time",
		"/1m":                       "want calls per time",
		"-1/s":                      "want calls per time",
		"inf/s burst 1":             "want calls per time",
		"0x10/s":                    "want calls per time",
		"1/-1s":                     "want calls per time",
		"1/0s":                      "the time after the slash must be above 0",
		"1/fortnight":               "want calls per time",
		"1/s bursts 2":              "want calls per time",
		"1/s burst 2 3":             "want calls per time",
		"0/s":                       "rate 0/s",
		"1e9/s":                     "want calls per time",
		"100000000/s":               "at most 10000000/s",
		"0.5/s":                     "0.5 calls are not a whole number, so a burst is required",
		"99999999999/h":             "more than the maximum burst of 2147483647, so a burst is required",
		"1/s burst 0":               "burst 0 must be from 1 to 2147483647",
		"1/s burst -1":              "burst -1 must be from 1 to 2147483647",
		"1/s burst x":               `burst "x": want a whole number from 1 to 2147483647`,
		"1/s burst 9999999999":      `burst "9999999999": want a whole number from 1 to 2147483647`,
		"1/h burst 100000":          "more than a year to refill",
		strings.Repeat("9", 10_000): "want calls per time",
	} {
		l, err := ratelimit.ParseLimit(text)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("ParseLimit(%.40q) = %+v, %v; want an error saying %q", text, l, err, says)
			continue
		}
		if len(err.Error()) > 200 {
			t.Errorf("ParseLimit(%.40q): error of %d bytes", text, len(err.Error()))
		}
	}
}

func TestLimitString(t *testing.T) {
	t.Parallel()
	for want, l := range map[string]ratelimit.Limit{
		"100/m":              ratelimit.Per(100, time.Minute),
		"20/s burst 40":      {Rate: 20, Burst: 40},
		"6/m burst 1":        ratelimit.Per(1, 10*time.Second),
		"7/h":                ratelimit.Per(7, time.Hour),
		"off":                ratelimit.Off(),
		"0/s":                {},
		"1.234567/s burst 3": {Rate: 1.234567, Burst: 3},
	} {
		if got := l.String(); got != want {
			t.Errorf("%#v.String() = %q, want %q", l, got, want)
		}
	}
}

func TestLimitWindow(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{time.Second, time.Minute, 7 * time.Hour} {
		if got := ratelimit.Per(3, d).Window(); got != d {
			t.Errorf("Per(3, %v).Window() = %v", d, got)
		}
	}
	for _, l := range []ratelimit.Limit{{}, ratelimit.Off(), {Rate: math.NaN(), Burst: 1}} {
		if got := l.Window(); got != 0 {
			t.Errorf("%#v.Window() = %v, want 0", l, got)
		}
	}
}

func TestLimitTextRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := anyLimit().Draw(t, "limit")
		text, err := want.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var got ratelimit.Limit
		if err := got.UnmarshalText(text); err != nil || got != want {
			t.Fatalf("%#v as %q came back as %#v, %v", want, text, got, err)
		}
	})
}

func TestUnmarshalTextLeavesLimitOnError(t *testing.T) {
	t.Parallel()
	l := ratelimit.Per(3, time.Second)
	if err := l.UnmarshalText([]byte("nonsense")); err == nil || l != ratelimit.Per(3, time.Second) {
		t.Errorf("err %v, limit %v", err, l)
	}
}

// anyLimit draws valid limits, of whole and of odd rates.
func anyLimit() *rapid.Generator[ratelimit.Limit] {
	return rapid.Custom(func(t *rapid.T) ratelimit.Limit {
		l := ratelimit.Limit{Burst: rapid.IntRange(1, 1000).Draw(t, "burst")}
		if rapid.Bool().Draw(t, "odd") {
			l.Rate = rapid.Float64Range(0.001, 1e6).Draw(t, "rate")
			return l
		}
		every := rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour}).Draw(t, "every")
		return ratelimit.Per(l.Burst, every)
	})
}

func FuzzParseLimit(f *testing.F) {
	for _, seed := range []string{"100/1m", "20/s burst 40", "off", "0.5/s burst 1", "1/", "/", "1/1µs", "9.9.9/s", "00/0s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := ratelimit.ParseLimit(text)
		if err != nil {
			if l != (ratelimit.Limit{}) {
				t.Fatalf("%q: limit %v beside error %v", text, l, err)
			}
			return
		}
		if err := l.Validate(); err != nil {
			t.Fatalf("%q is read as an invalid limit: %v", text, err)
		}
		again, err := ratelimit.ParseLimit(l.String())
		if err != nil || again != l {
			t.Fatalf("%q is %#v is %q is %#v, %v", text, l, l.String(), again, err)
		}
	})
}

func ExampleParseLimit() {
	l, err := ratelimit.ParseLimit("20/s burst 40")
	fmt.Println(l.Rate, l.Burst, l.Window(), err)
	_, err = ratelimit.ParseLimit("20 per second")
	fmt.Println(err)
	// Output:
	// 20 40 2s <nil>
	// ratelimit: limit "20 per second": want calls per time with an optional burst, as in "100/1m", "20/s burst 40", or "off"
}
