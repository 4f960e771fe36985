package service

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth/store"
)

// sessions caches the state of accounts, above all the generation of valid tokens, for 0.8 s,
// or 1 s while a clock catches up. A change on this node takes effect at once, and a change on
// another node within a second. Concurrent reads of one account share one query. The cache is
// bounded. It is safe for concurrent use.
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
	noGeneration    = -1 // of a disabled or deleted account
)

type sessionShard struct {
	mu      sync.RWMutex
	epoch   uint64 // counts invalidations, so that a slow read does not store an outdated result
	entries map[string]session
	reads   map[string]*sessionRead // in progress, the latest of each account
}

type session struct {
	user  store.User // without its password
	began time.Time  // when the query began
}

// sessionRead is a query in progress. User and err are set before done is closed; the other fields
// do not change.
type sessionRead struct {
	epoch uint64
	began time.Time
	done  chan struct{}
	user  store.User
	err   error
}

func newSessions(s *store.Store, now func() time.Time) *sessions {
	c := &sessions{store: s, now: now, seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].entries = make(map[string]session)
		c.shards[i].reads = make(map[string]*sessionRead)
	}
	return c
}

// generation returns the generation of the valid tokens of the account, or noGeneration if no
// token is valid.
func (c *sessions) generation(ctx context.Context, userID string) (int64, error) {
	user, err := c.user(ctx, userID)
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && user.Disabled:
		return noGeneration, nil
	case err != nil:
		return 0, err
	}
	return user.Generation, nil
}

// user returns the account without its password, or [store.ErrNotFound].
func (c *sessions) user(ctx context.Context, userID string) (store.User, error) {
	shard := c.shard(userID)
	for {
		now := c.now()
		shard.mu.RLock()
		known, ok := shard.entries[userID]
		shard.mu.RUnlock()
		if ok && fresh(known.began, now) {
			return found(known.user)
		}
		read, own := shard.join(userID, now)
		if own {
			go c.read(context.WithoutCancel(ctx), shard, userID, read)
		}
		select {
		case <-ctx.Done():
			return store.User{}, ctx.Err()
		case <-read.done:
		}
		if own || fresh(read.began, c.now()) {
			if read.err != nil {
				return store.User{}, read.err
			}
			return found(read.user)
		}
	}
}

func found(u store.User) (store.User, error) {
	if u.ID == "" {
		return u, store.ErrNotFound
	}
	return u, nil
}

// fresh reports whether the result of a query begun at began is still valid at now. The result is
// not valid if the clock was set back by more than 36 hours, see package clock. If began is
// slightly ahead of now, another goroutine has begun the query.
func fresh(began, now time.Time) bool { return now.Sub(began).Abs() < sessionFresh }

// read queries the database for the account, on behalf of all callers that wait for it. The query
// does not end with the context of the first caller.
func (c *sessions) read(ctx context.Context, shard *sessionShard, userID string, read *sessionRead) {
	defer close(read.done)
	defer shard.end(userID, read)
	defer func() {
		if v := recover(); v != nil {
			read.err = chassi.Recovered(v)
		}
	}()
	read.user, read.err = c.store.UserByID(ctx, userID)
	if errors.Is(read.err, store.ErrNotFound) {
		read.user, read.err = store.User{}, nil
	}
	read.user.Password = ""
}

// invalidate removes the account, so that its next check queries the database.
func (c *sessions) invalidate(userID string) {
	shard := c.shard(userID)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	shard.epoch++
	delete(shard.entries, userID)
}

func (c *sessions) shard(userID string) *sessionShard {
	return &c.shards[maphash.String(c.seed, userID)%sessionShards]
}

// join returns the query in progress for an account, if it is recent enough, or a new one that
// the caller must run; own is true then.
func (s *sessionShard) join(userID string, now time.Time) (read *sessionRead, own bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if read = s.reads[userID]; read != nil && read.epoch == s.epoch && fresh(read.began, now) {
		return read, false
	}
	read = &sessionRead{epoch: s.epoch, began: now, done: make(chan struct{})}
	s.reads[userID] = read
	return read, true
}

// end stores the result of read, unless read has failed or the shard was invalidated meanwhile.
func (s *sessionShard) end(userID string, read *sessionRead) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reads[userID] == read {
		delete(s.reads, userID)
	}
	if s.epoch != read.epoch || read.err != nil {
		return
	}
	if _, ok := s.entries[userID]; !ok && len(s.entries) >= sessionsInShard {
		for other := range s.entries { // any entry: the next check of it costs one query
			delete(s.entries, other)
			break
		}
	}
	s.entries[userID] = session{user: read.user, began: read.began}
}
