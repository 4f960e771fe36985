package job

import "time"

// Policy determines what happens to scheduled runs that cannot begin at their scheduled times.
type Policy int

// The policies for [Missed] and [Overlap].
const (
	Once  Policy = iota // only the latest missed run takes place
	Skip                // the runs do not take place; see Missed for the latest missed run
	All                 // the latest missed runs, at most a hundred, take place one after the other
	Queue               // the run waits until the earlier runs have ended
)

const (
	maxMissed = 100
	// maxQueued is the number of waiting and running runs of a job at which Queue and All skip
	// further runs.
	maxQueued = 100
	// late is the maximum delay of a run that is not missed. A deployment or a short outage of the
	// database causes a delay within this limit.
	late = time.Minute
)

// due returns the latest scheduled times from next to now, at most maximum, in ascending order, and
// the first scheduled time after now. If next is due but no time is scheduled from next to now, due
// returns next instead.
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

// plan returns the scheduled times of the runs that begin now according to the policy, and the
// first scheduled time after now. The argument next is the first scheduled time that has not been
// handled.
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
