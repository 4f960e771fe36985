package job

import "time"

// Policy says what becomes of runs that cannot begin at their scheduled time.
type Policy int

// The policies for [Missed] and [Overlap].
const (
	Once  Policy = iota // the latest missed run takes place, instead of all of them
	Skip                // the runs do not take place
	All                 // the latest hundred missed runs take place, one after the other
	Queue               // the run waits until the earlier ones have ended
)

const (
	maxMissed = 100
	// maxQueued is the number of waiting and running runs of a job at which Queue and All skip
	// further runs.
	maxQueued = 100
	// late is how late a run may start before it is missed. A deployment or an outage of the
	// database may cause such a delay.
	late = time.Minute
)

// due returns the latest scheduled times from next to now, at most maximum, in ascending order, and
// the first scheduled time after now.
func (s *schedule) due(next, now time.Time, maximum int) (times []time.Time, following time.Time) {
	if next.After(now) {
		return nil, next
	}
	for window := time.Minute; ; window *= 2 { // the pauses between runs are unknown, and next may be long ago
		from := later(next.Add(-1), now.Add(-window))
		times = times[:0]
		for following = s.next(from); !following.After(now); following = s.next(following) {
			times = append(times, following)
		}
		if len(times) >= maximum || from.Before(next) {
			break
		}
	}
	if len(times) == 0 {
		times = append(times, next) // computed from another expression
	}
	return times[max(0, len(times)-maximum):], following
}

// plan returns the runs that begin now, and the first scheduled time after now.
func (p Policy) plan(s *schedule, next, now time.Time) (runs []time.Time, following time.Time) {
	switch p {
	case All:
		return s.due(next, now, maxMissed)
	case Skip:
		runs, following = s.due(next, now, 1)
		if len(runs) > 0 && now.Sub(runs[0]) > late {
			runs = nil
		}
		return runs, following
	default:
		return s.due(next, now, 1)
	}
}
