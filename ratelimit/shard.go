package ratelimit

import (
	"math"
	"sync"
	"time"
)

const slots = 16

// slot is the bucket of one key. The zero slot is a full bucket, so empty slots need no mark.
type slot struct {
	// hash identifies the key. Keys with the same hash share a bucket: with a million keys
	// stored, the probability that a new key shares one is less than 10^-13.
	hash uint64
	// full is the shard's time at which the bucket is full again (GCRA's
	// theoretical arrival time).
	full int64
}

type set [slots]slot

// shard is a part of the table with its own lock. Its size prevents two locks from
// sharing a cache line.
type shard struct {
	mu      sync.Mutex
	sets    []set // their number is a power of two
	maxSets int
	pace    pace
	window  int64 // window to which the times of slots are scaled; kept while the pace has none
	now     int64
	skew    int64
	_       [32]byte
}

// advance converts a reading of the clock to the shard's time, which never decreases: after the
// clock has gone back, the shard's time continues from its highest value.
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

// find returns the slot of hash. If there is none, it grows the shard if that is necessary and
// possible, and returns the slot that hash takes over, including the bucket in it. See the package
// documentation.
func (s *shard) find(hash uint64, now int64) *slot {
	for {
		found := s.home(hash).find(hash)
		if found.hash == hash || found.full <= now || len(s.sets) >= s.maxSets {
			return found
		}
		s.grow(now)
	}
}

// home returns the set of hash. The low bits of hash select the set, and the high bits the shard.
func (s *shard) home(hash uint64) *set {
	return &s.sets[hash&uint64(len(s.sets)-1)]
}

// find returns the slot of hash or, if there is none, the slot whose bucket is closest to full.
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

// grow doubles the number of sets in the shard. It must not be called after a key has been
// evicted: that key would get an empty slot, with a full bucket, in its new set.
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

// setPace changes the pace and keeps the relative fill of each bucket. It rounds down, so that
// repeated changes never permit an additional call.
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
