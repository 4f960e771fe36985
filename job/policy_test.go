package job

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestMissedRuns(t *testing.T) {
	t.Parallel()
	hourly := schedule1(t, "0 * * * *", "UTC")
	at := func(hour, minute int) time.Time { return time.Date(2027, 5, 1, hour, minute, 0, 0, time.UTC) }
	for name, c := range map[string]struct {
		policy    Policy
		next, now time.Time
		first     time.Time
		runs      int
		following time.Time
	}{
		"not due":                {Once, at(4, 0), at(3, 59), time.Time{}, 0, at(4, 0)},
		"once, on time":          {Once, at(4, 0), at(4, 0), at(4, 0), 1, at(5, 0)},
		"once, late":             {Once, at(4, 0), at(4, 59), at(4, 0), 1, at(5, 0)},
		"once, several":          {Once, at(4, 0), at(7, 30), at(7, 0), 1, at(8, 0)},
		"skip, on time":          {Skip, at(4, 0), at(4, 1), at(4, 0), 1, at(5, 0)},
		"skip, late":             {Skip, at(4, 0), at(4, 2), time.Time{}, 0, at(5, 0)},
		"skip, several":          {Skip, at(4, 0), at(7, 2), time.Time{}, 0, at(8, 0)},
		"skip, the last on time": {Skip, at(4, 0), at(7, 0), at(7, 0), 1, at(8, 0)},
		"all":                    {All, at(4, 0), at(7, 30), at(4, 0), 4, at(8, 0)},
		"all, on time":           {All, at(4, 0), at(4, 0), at(4, 0), 1, at(5, 0)},
		"all, of ten years":      {All, at(4, 0).AddDate(-10, 0, 0), at(4, 0), at(4, 0).Add(-99 * time.Hour), 100, at(5, 0)},
		"once, of ten years":     {Once, at(4, 0).AddDate(-10, 0, 0), at(4, 30), at(4, 0), 1, at(5, 0)},
		"another expression":     {Once, at(4, 20), at(4, 21), at(4, 20), 1, at(5, 0)},
	} {
		runs, following := c.policy.plan(hourly, c.next, c.now)
		if len(runs) != c.runs || !following.Equal(c.following) || c.runs > 0 && !runs[0].Equal(c.first) {
			t.Errorf("%s: %d runs, %v, then %v; want %d from %v, then %v", name, len(runs), runs, following, c.runs, c.first, c.following)
		}
	}
}

// due finds what a walk through all times finds.
func TestDueAgainstAWalk(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	for range 40 {
		expression := []string{"* * * * *", "*/7 3-5 * * *", "0 4 * * 1", "30 1 1 * *", "@every 13s", "* 4 1 * *"}[r.IntN(6)]
		s := schedule1(t, expression, zones[r.IntN(len(zones))])
		next := s.next(time.Unix(1.8e9+r.Int64N(1e8), 0))
		now := next.Add(time.Duration(r.Int64N(int64(12 * time.Hour)))).Add(-time.Hour)
		maximum := []int{1, 3, 100}[r.IntN(3)]
		var walk []time.Time
		following := next
		for ; !following.After(now); following = s.next(following) {
			walk = append(walk, following)
		}
		walk = walk[max(0, len(walk)-maximum):]
		times, got := s.due(next, now, maximum)
		if !got.Equal(following) || !slices.EqualFunc(times, walk, time.Time.Equal) {
			t.Fatalf("%s from %v to %v: %v, then %v; want %v, then %v", expression, next, now, times, got, walk, following)
		}
	}
}
