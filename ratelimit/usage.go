package ratelimit

import (
	"hash/maphash"
	"sync"
)

// Usage counts what each key holds at the moment, such as calls under way, connections or
// bytes, and lets no key hold more than a maximum. Its memory follows what is held: a key
// that holds nothing takes no room. It is safe for concurrent use, starts no goroutine and
// needs no closing.
type Usage struct {
	seed   maphash.Seed
	shards [usageShards]usageShard
}

const usageShards = 64

// usageShard is padded so that two locks do not share a cache line.
type usageShard struct {
	mu   sync.Mutex
	held map[Key]int64
	_    [48]byte
}

// NewUsage returns a Usage in which no key holds anything.
func NewUsage() *Usage {
	u := &Usage{seed: maphash.MakeSeed()}
	for i := range u.shards {
		u.shards[i].held = make(map[Key]int64)
	}
	return u
}

// Acquire lets key hold n more, at least 1, and returns true. If key would then hold more than limit it
// changes nothing and returns false. What was acquired is to be released.
func (u *Usage) Acquire(key Key, n, limit int64) bool {
	s := u.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.held[key]
	if held+n > limit {
		return false
	}
	s.held[key] = held + n
	return true
}

// Release gives n of what key holds back. It must not give back more than was acquired.
func (u *Usage) Release(key Key, n int64) {
	s := u.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if held := s.held[key]; held > n {
		s.held[key] = held - n
	} else {
		delete(s.held, key)
	}
}

// Held returns what key holds.
func (u *Usage) Held(key Key) int64 {
	s := u.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[key]
}

// Len returns the number of keys that hold something.
func (u *Usage) Len() int {
	n := 0
	for i := range u.shards {
		s := &u.shards[i]
		s.mu.Lock()
		n += len(s.held)
		s.mu.Unlock()
	}
	return n
}

func (u *Usage) shard(key Key) *usageShard {
	return &u.shards[maphash.Comparable(u.seed, key)%usageShards]
}
