package ratelimit

import (
	"math/rand/v2"
	"sync"
)

// Usage counts what each key holds at the moment, such as calls under way, connections or
// bytes, and lets no key hold more than a maximum. Its memory follows what is held: a key
// that holds nothing takes no room. It is safe for concurrent use, starts no goroutine and
// needs no closing.
type Usage struct {
	seed   uint64
	shards [1 << usageShardLog]usageShard
}

const usageShardLog = 6

// usageShard has one key in place, and a map for others that hold something at the same
// time: mostly there are none. It is padded so that two locks do not share a cache line.
type usageShard struct {
	mu   sync.Mutex
	key  Key
	held int64 // by key; 0 when there is none in place
	more map[Key]int64
	_    [24]byte
}

func (s *usageShard) get(key Key) int64 {
	if s.held > 0 && s.key == key {
		return s.held
	}
	return s.more[key]
}

func (s *usageShard) set(key Key, n int64) {
	switch {
	case s.held > 0 && s.key == key, s.held == 0 && s.more[key] == 0:
		s.key, s.held = key, n
	case n > 0:
		s.more[key] = n
	default:
		delete(s.more, key)
	}
}

// NewUsage returns a Usage in which no key holds anything.
func NewUsage() *Usage {
	u := &Usage{seed: rand.Uint64()}
	for i := range u.shards {
		u.shards[i].more = make(map[Key]int64)
	}
	return u
}

// Acquire lets key hold n more, at least 1, and returns true. If key would then hold more than limit it
// changes nothing and returns false. What was acquired is to be released.
func (u *Usage) Acquire(key Key, n, limit int64) bool {
	s := u.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.get(key)
	if held+n > limit {
		return false
	}
	s.set(key, held+n)
	return true
}

// Release gives n of what key holds back. It must not give back more than was acquired.
func (u *Usage) Release(key Key, n int64) {
	s := u.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(key, max(s.get(key)-n, 0))
}

// Held returns what key holds.
func (u *Usage) Held(key Key) int64 {
	s := u.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.get(key)
}

// Len returns the number of keys that hold something.
func (u *Usage) Len() int {
	n := 0
	for i := range u.shards {
		s := &u.shards[i]
		s.mu.Lock()
		n += len(s.more)
		if s.held > 0 {
			n++
		}
		s.mu.Unlock()
	}
	return n
}

// shard spreads keys over the locks. It need not withstand keys that are chosen to meet in one
// shard, which would wait for each other a little: the maps do, with a hash of their own.
func (u *Usage) shard(key Key) *usageShard {
	mixed := ((key.value ^ u.seed) * 0x9e3779b97f4a7c15) ^ key.kind
	return &u.shards[mixed*0x9e3779b97f4a7c15>>(64-usageShardLog)]
}
