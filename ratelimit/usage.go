package ratelimit

import (
	"math/rand/v2"
	"sync"
)

// Usage counts the resources that each key holds, such as running calls, connections or bytes,
// and enforces a maximum per key. A key that holds nothing takes no memory. A Usage is
// safe for concurrent use, starts no goroutine and need not be closed.
type Usage struct {
	seed   uint64
	shards [1 << usageShardLog]usageShard
}

const usageShardLog = 6

// usageShard contains the usage of some keys. It stores one key in place. Other keys
// that hold something at the same time, which is rare, are in a map. It is padded so
// that two locks do not share a cache line.
type usageShard struct {
	mu   sync.Mutex
	key  Key
	held int64 // by key; 0 if the shard holds nothing for key
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

// Acquire adds n, which must be at least 1, to the usage of key and returns true. If
// the sum would exceed limit, it changes nothing and returns false. The caller must
// release what it has acquired.
func (u *Usage) Acquire(key Key, n, limit int64) bool {
	s := u.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.get(key)
	if n > limit-held { // and not held+n, which can overflow
		return false
	}
	s.set(key, held+n)
	return true
}

// Release subtracts n from the usage of key. The caller must not release more than it has acquired.
func (u *Usage) Release(key Key, n int64) {
	s := u.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(key, max(s.get(key)-n, 0))
}

// Held returns the amount that key holds.
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

// shard returns the shard of key. An attacker who chose keys of the same shard would only cause
// contention for its lock, because the maps have their own hashes.
func (u *Usage) shard(key Key) *usageShard {
	mixed := ((key.value ^ u.seed) * 0x9e3779b97f4a7c15) ^ key.kind
	return &u.shards[mixed*0x9e3779b97f4a7c15>>(64-usageShardLog)]
}
