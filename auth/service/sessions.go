package service

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"time"

	"github.com/chassi-go/chassi/auth/store"
)

// sessions remembers for 0.8 s, 1 s while a clock catches up, which generation of tokens an
// account accepts. A change on this node counts at once, one on another node when that is over,
// within a second. It is bounded, and holds nothing that the database would not say
// again.
type sessions struct {
	store  *store.Store
	now    func() time.Time
	seed   maphash.Seed
	shards [sessionShards]sessionShard
}

const (
	sessionShards   = 32
	sessionsInShard = 1024
	sessionFresh    = 800 * time.Millisecond
	noGeneration    = -1 // of an account that is disabled or gone
)

type sessionShard struct {
	mu      sync.RWMutex
	epoch   uint64 // counts what was forgotten, so that a slow read does not bring it back
	entries map[string]session
}

type session struct {
	generation int64
	until      time.Time
}

func newSessions(s *store.Store, now func() time.Time) *sessions {
	c := &sessions{store: s, now: now, seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].entries = make(map[string]session)
	}
	return c
}

// generation returns which tokens of the account are good, noGeneration for
// none.
func (c *sessions) generation(ctx context.Context, userID string) (int64, error) {
	shard, now := c.shard(userID), c.now()
	shard.mu.RLock()
	known, ok := shard.entries[userID]
	epoch := shard.epoch
	shard.mu.RUnlock()
	if ok && now.Before(known.until) {
		return known.generation, nil
	}
	user, err := c.store.UserByID(ctx, userID)
	generation := user.Generation
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && user.Disabled:
		generation = noGeneration
	case err != nil:
		return 0, err
	}
	shard.keep(userID, session{generation: generation, until: now.Add(sessionFresh)}, epoch)
	return generation, nil
}

// forget makes the next check of the account ask the database.
func (c *sessions) forget(userID string) {
	shard := c.shard(userID)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	shard.epoch++
	delete(shard.entries, userID)
}

func (c *sessions) shard(userID string) *sessionShard {
	return &c.shards[maphash.String(c.seed, userID)%sessionShards]
}

func (s *sessionShard) keep(userID string, entry session, epoch uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch != epoch {
		return
	}
	if _, ok := s.entries[userID]; !ok && len(s.entries) >= sessionsInShard {
		for other := range s.entries { // any will do: it comes back with one query
			delete(s.entries, other)
			break
		}
	}
	s.entries[userID] = entry
}
