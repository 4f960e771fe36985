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

// sessions caches accounts, above all the generation of their valid tokens, for 0.8 s, or 1 s while
// the time that now returns advances more slowly (see package clock). A change on this node takes
// effect at once, and a change on another node within a second. Concurrent reads of one account
// share one query. The cache contains at most 32,768 accounts. It is safe for concurrent use.
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
	noGeneration    = -1 // the generation of a disabled or deleted account
)

type sessionShard struct {
	mu      sync.RWMutex
	epoch   uint64 // counts invalidations, so that a slow read does not store an outdated result
	entries map[string]session
	reads   map[string]*sessionRead // in progress, the latest of each account
}

type session struct {
	user  store.User // without its password; the zero User if the account does not exist
	began time.Time  // when the query began
}

// sessionRead is a query in progress. The fields user and err are set before done is closed; the
// other fields do not change.
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

// generation returns the generation of the account's valid tokens, or noGeneration if the account
// is disabled or does not exist.
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

// fresh reports whether the result of a query that began at the time began may still be used at
// now, that is, whether the two times differ by less than sessionFresh. began is slightly after now
// if another goroutine has just begun the query, and long after now if the clock was set back.
func fresh(began, now time.Time) bool { return now.Sub(began).Abs() < sessionFresh }

// read queries the database for the account, on behalf of all callers that wait for the result,
// which it stores in read. The query continues if the context of the first caller is canceled.
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

// invalidate removes the account from the cache, so that the next check queries the database.
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

// join returns the query in progress for an account if the query is recent enough and began after
// the last invalidation of the shard. Otherwise it returns a new query, which the caller must run,
// and own is true.
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

// end stores the result of read in the cache, unless read has failed or the shard was invalidated
// in the meantime.
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
