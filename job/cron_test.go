package job

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/robfig/cron/v3"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func schedule1(t testing.TB, expression, zoneName string) *schedule {
	t.Helper()
	s, err := parse(expression, zone(t, zoneName))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// during returns the runs of one day by the local calendar.
func during(s *schedule, year int, month time.Month, day int) (runs []time.Time) {
	begin := time.Date(year, month, day, 12, 0, 0, 0, s.zone).Add(-24 * time.Hour)
	for t := s.next(begin); ; t = s.next(t) {
		switch d := t.Day(); {
		case t.Month() == month && d == day:
			runs = append(runs, t)
		case t.Month() > month || d > day:
			return runs
		}
	}
}

// The runs around changes to and from daylight saving time.
func TestRunsAroundClockChanges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		zone     string
		month    time.Month
		day      int
		half     string        // of "30 1 * * *", with its offset
		midnight string        // of "0 0 * * *"
		hours    int           // of "0 * * * *"
		length   time.Duration // of the day
	}{
		{"Europe/Lisbon", time.March, 28, "02:00+01:00", "00:00Z", 23, 23 * time.Hour},
		{"Europe/Lisbon", time.October, 31, "01:30+01:00", "00:00+01:00", 25, 25 * time.Hour},
		{"America/Santiago", time.September, 5, "01:30-03:00", "01:00-03:00", 23, 23 * time.Hour},
		{"Australia/Lord_Howe", time.April, 4, "01:30+11:00", "00:00+11:00", 24, 24*time.Hour + 30*time.Minute},
	} {
		t.Run(fmt.Sprint(c.zone, c.month), func(t *testing.T) {
			t.Parallel()
			for expression, want := range map[string]string{"30 1 * * *": c.half, "0 0 * * *": c.midnight} {
				var got []string
				for _, run := range during(schedule1(t, expression, c.zone), 2027, c.month, c.day) {
					got = append(got, run.Format("15:04Z07:00"))
				}
				if len(got) != 1 || got[0] != want {
					t.Errorf("%s: %v, want %s", expression, got, want)
				}
			}
			if got := during(schedule1(t, "0 * * * *", c.zone), 2027, c.month, c.day); len(got) != c.hours {
				t.Errorf("0 * * * *: %d runs, want %d", len(got), c.hours)
			}
			quarters := during(schedule1(t, "*/15 * * * *", c.zone), 2027, c.month, c.day)
			if want := int(c.length / (15 * time.Minute)); len(quarters) != want {
				t.Errorf("*/15 * * * *: %d runs, want %d", len(quarters), want)
			}
			for i := 1; i < len(quarters); i++ {
				if pause := quarters[i].Sub(quarters[i-1]); pause != 15*time.Minute {
					t.Errorf("*/15 * * * *: %v, and %v later %v", quarters[i-1], pause, quarters[i])
				}
			}
		})
	}
}

func TestNext(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ expression, zone, after, want string }{
		{"0 4 * * *", "UTC", "2027-01-01T04:00:00Z", "2027-01-02T04:00:00Z"},
		{"0 4 * * *", "UTC", "2027-01-01T03:59:59.999Z", "2027-01-01T04:00:00Z"},
		{"@hourly", "Asia/Kolkata", "2027-01-01T00:00:00Z", "2027-01-01T00:30:00Z"},
		{"@daily", "Europe/Lisbon", "2027-07-01T00:00:00Z", "2027-07-01T23:00:00Z"},
		{"@every 90s", "UTC", "2027-01-01T00:00:01Z", "2027-01-01T00:01:30Z"},
		{"0 0 29 2 *", "UTC", "2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z"},
		{"0 0 13 * fri", "UTC", "2027-01-02T00:00:00Z", "2027-01-08T00:00:00Z"}, // either suffices
		{"0 0 * * mon-fri", "UTC", "2027-01-02T00:00:00Z", "2027-01-04T00:00:00Z"},
		{"*/15 1 * * *", "Europe/Lisbon", "2027-03-28T00:59:00Z", "2027-03-28T01:00:00Z"},     // four skipped runs are one
		{"*/15 1 * * *", "Europe/Lisbon", "2027-03-28T01:00:00Z", "2027-03-29T00:00:00Z"},     // and no other
		{"0,30 1,2 * * *", "Europe/Lisbon", "2027-03-28T01:00:00Z", "2027-03-28T01:30:00Z"},   // 02:30, after skipped ones with 02:00
		{"30 1 * * *", "Europe/Lisbon", "2027-10-31T00:45:00Z", "2027-11-01T01:30:00Z"},       // within the repetition
		{"0 4 * * *", "Pacific/Apia", "2011-12-29T14:00:00Z", "2011-12-30T10:00:00Z"},         // a day that was skipped
		{"30 23 * * *", "America/Santiago", "2027-04-04T02:30:00Z", "2027-04-05T03:30:00Z"},   // repeats the end of the day before
		{"*/30 23 * * *", "America/Santiago", "2027-04-04T02:30:00Z", "2027-04-05T03:00:00Z"}, // a fixed hour
		{"0 */2 * * *", "Europe/Lisbon", "2027-10-31T00:00:00Z", "2027-10-31T02:00:00Z"},      // 01:00 does not match, twice
		{"30 */1 * * *", "Europe/Lisbon", "2027-10-31T00:30:00Z", "2027-10-31T01:30:00Z"},     // a step: repeated
		{"30 1-2,1/5 * * *", "Europe/Lisbon", "2027-10-31T00:30:00Z", "2027-10-31T01:30:00Z"}, // a step in a list
		{"30 0-23 * * *", "Europe/Lisbon", "2027-10-31T00:30:00Z", "2027-10-31T02:30:00Z"},    // a range is fixed
	} {
		after, err := time.Parse(time.RFC3339Nano, c.after)
		if err != nil {
			t.Fatal(err)
		}
		if got := schedule1(t, c.expression, c.zone).next(after).UTC().Format(time.RFC3339); got != c.want {
			t.Errorf("%s in %s after %s: %s, want %s", c.expression, c.zone, c.after, got, c.want)
		}
	}
}

// oracle returns the runs in (after, until], found by looking at each minute.
func oracle(s *schedule, after, until time.Time) (runs []time.Time) {
	matches := func(wall time.Time) bool {
		return s.onDay(wall) && has(s.hours, wall.Hour()) && has(s.minutes, wall.Minute())
	}
	var reached, skippedFrom time.Time // by the local clock
	for t := after.Add(-26 * time.Hour).Truncate(time.Minute); !t.After(until); t = t.Add(time.Minute) {
		wall := local(t.In(s.zone))
		run := false
		switch {
		case s.everyHour:
			run = matches(wall)
		case reached.IsZero() || wall.After(reached):
			run = matches(wall)
			for skippedFrom = reached.Add(time.Minute); !reached.IsZero() && skippedFrom.Before(wall); skippedFrom = skippedFrom.Add(time.Minute) {
				run = run || matches(skippedFrom)
			}
			reached = wall
		}
		if run && t.After(after) {
			runs = append(runs, t)
		}
	}
	return runs
}

var zones = []string{
	"UTC", "Europe/Lisbon", "America/Santiago", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca", "America/New_York",
	"Asia/Kathmandu", "Pacific/Chatham", "America/Havana", "Asia/Gaza", "Antarctica/Troll", "Africa/Cairo", "Asia/Tehran", "Pacific/Kwajalein",
}

// changes returns the times in some years at which the clock of a zone is set.
func changes(z *time.Location) (times []time.Time) {
	for t := time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC).In(z); t.Year() < 2040; {
		_, end := t.ZoneBounds()
		if end.IsZero() {
			break
		}
		times, t = append(times, end), end
	}
	return times
}

func field(r *rand.Rand, low, high int) string {
	n := func() int { return low + r.IntN(high-low+1) }
	switch r.IntN(6) {
	case 0, 1:
		return "*"
	case 2:
		return fmt.Sprintf("*/%d", 1+r.IntN(high))
	case 3:
		a, b := n(), n()
		return fmt.Sprintf("%d-%d", min(a, b), max(a, b))
	case 4:
		return fmt.Sprintf("%d,%d", n(), n())
	}
	return strconv.Itoa(n())
}

// compare compares next with the oracle, from after on for the given time.
func compare(t *testing.T, s *schedule, after time.Time, length time.Duration) {
	t.Helper()
	var got []time.Time
	until := after.Add(length)
	for run := s.next(after); !run.IsZero() && !run.After(until); run = s.next(run) {
		got = append(got, run)
	}
	if want := oracle(s, after, until); !slices.EqualFunc(got, want, time.Time.Equal) {
		t.Errorf("%s in %v from %v to %v:\n got %v\nwant %v", s.expression, s.zone, after, until, got, want)
	}
}

// Random expressions around changes of random zones.
func TestNextAgainstEveryMinute(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for n := 0; n < 40; {
		hour := field(r, 0, 4)
		if r.IntN(2) == 0 {
			hour = field(r, 0, 23)
		}
		day, month, weekday := "*", "*", "*"
		if r.IntN(3) == 0 {
			day, weekday = field(r, 1, 31), field(r, 0, 6)
		}
		if r.IntN(5) == 0 {
			month = field(r, 1, 12)
		}
		z := zone(t, zones[r.IntN(len(zones))])
		s, err := parse(strings.Join([]string{field(r, 0, 59), hour, day, month, weekday}, " "), z)
		if err != nil {
			continue // 31 February
		}
		n++
		after := time.Date(2000+r.IntN(40), time.Month(r.IntN(12)), r.IntN(31), r.IntN(24), r.IntN(60), r.IntN(60), 0, time.UTC)
		if list := changes(z); len(list) > 0 {
			after = list[r.IntN(len(list))].Add(-time.Duration(r.IntN(30*60)) * time.Minute)
		}
		compare(t, s, after, 50*time.Hour)
		if t.Failed() {
			return
		}
	}
}

// Where no clock is set, the runs are those of the library that parses.
func TestNextAgainstTheLibrary(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for n := 0; n < 500; {
		expression := strings.Join([]string{field(r, 0, 59), field(r, 0, 23), field(r, 1, 31), field(r, 1, 12), field(r, 0, 6)}, " ")
		s, err := parse(expression, time.UTC)
		if err != nil {
			continue
		}
		n++
		library, err := cron.ParseStandard(expression)
		if err != nil {
			t.Fatal(err)
		}
		after := time.Unix(r.Int64N(4e9), r.Int64N(1e9)).UTC()
		for range 5 {
			got, want := s.next(after), library.Next(after)
			if want.IsZero() { // after five years
				break
			}
			if !got.Equal(want) {
				t.Fatalf("%s after %v: %v, want %v", expression, after, got, want)
			}
			after = got
		}
	}
}

func TestInvalidExpressions(t *testing.T) {
	t.Parallel()
	for _, expression := range []string{
		"", " ", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 7", "a * * * *", "1-0 * * * *",
		"*/0 * * * *", "* * * * */99999999999999999999", ", * * * *", "0 0 31 2 *", "0 0 30 2 *", "@never", "@every", "@every x", "@every 0s", "@every -5m", "@every 1500ms",
		"TZ=", "TZ=UTC", "TZ=UTC * * * * *", "CRON_TZ=Europe/Lisbon 0 4 * * *", "@", "/ * * * *", "- * * * *",
	} {
		if s, err := parse(expression, time.UTC); err == nil {
			t.Errorf("%q is accepted, and runs at %v", expression, s.next(time.Unix(0, 0)))
		} else if expression != "" && !strings.Contains(err.Error(), fmt.Sprintf("%q", expression)) {
			t.Errorf("%q: the error does not name it: %v", expression, err)
		}
	}
}

// No expression makes the parser or next panic, and next always moves on.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"0 4 * * *", "*/15 1-5,7 1 jan mon", "@every 1m30s", "@weekly", "TZ=UTC 0 0 * * *", "? ? ? ? ?", "59/59 23 29 2 *"} {
		f.Add(seed, int64(1806195600), uint8(1))
	}
	f.Fuzz(func(t *testing.T, expression string, seconds int64, place uint8) {
		s, err := parse(expression, zone(t, zones[int(place)%len(zones)]))
		if err != nil {
			return
		}
		after := time.Unix(seconds%4e9, 0)
		first := s.next(after)
		if first.IsZero() || !first.After(after) {
			t.Fatalf("%q: %v after %v", expression, first, after)
		}
		if second := s.next(first); !second.After(first) {
			t.Fatalf("%q: %v after %v", expression, second, first)
		}
		if between := s.next(first.Add(-1)); !between.Equal(first) {
			t.Fatalf("%q: %v after a moment before %v", expression, between, first)
		}
	})
}

func BenchmarkNext(b *testing.B) {
	for _, expression := range []string{"* * * * *", "0 4 * * *", "0 0 29 2 *"} {
		b.Run(expression, func(b *testing.B) {
			s := schedule1(b, expression, "Europe/Lisbon")
			after := time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)
			for b.Loop() {
				s.next(after)
			}
		})
	}
}
