package ratelimit

import (
	"math"
	"sync"
	"time"
)

const slots = 16

// A slot is the bucket of one key. The zero slot is a full bucket, so it needs
// no mark of being empty.
type slot struct {
	// hash stands for the key. Two keys of one hash share a bucket: among a
	// million keys, one new key in 10^13 meets that.
	hash uint64
	// full is the shard's time at which the bucket is full again (GCRA's
	// theoretical arrival time).
	full int64
}

type set [slots]slot

// A shard is a part of the table under a lock of its own. Its size keeps two
// locks out of one cache line.
type shard struct {
	mu      sync.Mutex
	sets    []set // a power of two of them
	maxSets int
	pace    pace
	window  int64 // what the slots' times are scaled to; outlives a pace that keeps no account
	now     int64
	skew    int64
	_       [32]byte
}

// advance turns a reading of the clock into the shard's time, which never runs
// backwards: after a step back it stands still, and goes on at once from there.
func (s *shard) advance(reading int64) int64 {
	if reading+s.skew < s.now {
		s.skew = s.now - reading
	}
	s.now = reading + s.skew
	return s.now
}

func (s *shard) allow(hash uint64, now int64) Decision {
	if s.pace.window == 0 {
		return s.pace.uncounted()
	}
	slot := s.find(hash, now)
	full := max(slot.full, now)
	next := full + s.pace.interval
	if wait := next - s.pace.window - now; wait > 0 {
		return Decision{Limit: s.pace.burst, RetryAfter: time.Duration(wait), Reset: time.Duration(full - now)}
	}
	slot.hash, slot.full = hash, next
	return Decision{
		Allowed:   true,
		Limit:     s.pace.burst,
		Remaining: int((s.pace.window - (next - now)) / s.pace.interval),
		Reset:     time.Duration(next - now),
	}
}

// find returns the slot of hash, else the one it may take over with the bucket
// in it. The package comment says why that gives nothing away.
func (s *shard) find(hash uint64, now int64) *slot {
	for {
		found := s.home(hash).find(hash)
		if found.hash == hash || found.full <= now || len(s.sets) >= s.maxSets {
			return found
		}
		s.grow(now)
	}
}

// home returns the set of hash. The high bits chose the shard already.
func (s *shard) home(hash uint64) *set {
	return &s.sets[hash&uint64(len(s.sets)-1)]
}

// find returns the slot of hash, else the one nearest to full.
func (s *set) find(hash uint64) *slot {
	fullest := &s[0]
	for i := range s {
		if s[i].hash == hash {
			return &s[i]
		}
		if s[i].full < fullest.full {
			fullest = &s[i]
		}
	}
	return fullest
}

// grow doubles the shard. It must not happen once a live slot has been taken
// over: a key pushed out would find room, and a full bucket, in its new set.
func (s *shard) grow(now int64) {
	old := s.sets
	s.sets = make([]set, 2*len(old))
	for i := range old {
		for _, slot := range old[i] {
			if slot.full > now {
				*s.home(slot.hash).find(slot.hash) = slot
			}
		}
	}
}

// setPace changes the pace and keeps the fill of every bucket. It rounds towards
// emptier, so that no number of changes gives a call away.
func (s *shard) setPace(next pace, now int64) {
	s.pace = next
	if next.window == 0 || next.window == s.window {
		return
	}
	scale := float64(next.window) / float64(s.window)
	s.window = next.window
	for i := range s.sets {
		for j := range s.sets[i] {
			if slot := &s.sets[i][j]; slot.full > now {
				missing := math.Ceil(float64(slot.full-now) * scale)
				slot.full = now + min(int64(missing), next.window)
			}
		}
	}
}

func (s *shard) live(now int64) int {
	n := 0
	for i := range s.sets {
		for _, slot := range s.sets[i] {
			if slot.full > now {
				n++
			}
		}
	}
	return n
}
