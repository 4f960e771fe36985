package token

import (
	"crypto/sha256"
	"hash/maphash"
	"strings"
	"sync"
)

const (
	cacheShards   = 16
	evictionTries = 8
)

// cache stores a bounded number of verified tokens. Invalid tokens are not stored, so they
// cannot evict valid ones.
type cache struct {
	seed     maphash.Seed
	shards   []shard
	perShard int
}

type shard struct {
	mu      sync.RWMutex
	entries map[uint64]*entry
}

// entry is one verified token. It is never modified. It contains the whole token, so that
// tokens with the same hash are not confused.
type entry struct {
	token  string
	header string            // of the token
	mark   [sha256.Size]byte // of the key that verified it
	claims *Claims
}

func newEntry(token string, dot int, key *Key, claims *Claims) *entry {
	token = strings.Clone(token) // it may be a piece of a large buffer
	return &entry{token: token, header: token[:dot], mark: key.mark, claims: claims}
}

// newCache returns a cache of at most size entries. A cache of size 0 stores nothing.
func newCache(size int) *cache {
	c := &cache{seed: maphash.MakeSeed(), shards: make([]shard, min(size, cacheShards))}
	for i := range c.shards {
		c.shards[i].entries = make(map[uint64]*entry)
	}
	c.perShard = size / max(len(c.shards), 1)
	return c
}

func (c *cache) sum(token string) uint64 {
	if len(c.shards) == 0 {
		return 0
	}
	return maphash.String(c.seed, token)
}

func (c *cache) shard(sum uint64) *shard { return &c.shards[sum%uint64(len(c.shards))] }

func (c *cache) get(sum uint64, token string) *entry {
	if len(c.shards) == 0 {
		return nil
	}
	s := c.shard(sum)
	s.mu.RLock()
	e := s.entries[sum]
	s.mu.RUnlock()
	if e == nil || e.token != token {
		return nil
	}
	return e
}

func (c *cache) put(sum uint64, e *entry) {
	if len(c.shards) == 0 {
		return
	}
	s := c.shard(sum)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, replaces := s.entries[sum]; !replaces && len(s.entries) >= c.perShard {
		s.evict()
	}
	s.entries[sum] = e
}

// evict removes one of a few randomly chosen entries: the entry that expires first.
func (s *shard) evict() {
	var victim uint64
	var first *entry
	tries := 0
	for sum, e := range s.entries { // begins anywhere
		if first == nil || e.claims.ExpiresAt.Before(first.claims.ExpiresAt) {
			victim, first = sum, e
		}
		if tries++; tries == evictionTries {
			break
		}
	}
	delete(s.entries, victim)
}

func (c *cache) remove(sum uint64, token string) {
	if len(c.shards) == 0 {
		return
	}
	s := c.shard(sum)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[sum]; e != nil && e.token == token {
		delete(s.entries, sum)
	}
}

func (c *cache) purge() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		clear(s.entries)
		s.mu.Unlock()
	}
}
