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

// sessions remembers for 0.8 s, 1 s while a clock catches up, what an account is, above all
// which generation of tokens it accepts. A change on this node counts at once, one on another
// node when that is over, within a second. Calls that need to know the same at once ask once.
// It is bounded, and holds nothing that the database would not say again.
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
	reads   map[string]*sessionRead // under way, the latest of each account
}

type session struct {
	user  store.User // without its password
	until time.Time
}

// sessionRead is a question to the database. All but done and began are set when done is
// closed.
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

// generation returns which tokens of the account are good, noGeneration for
// none.
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
		if ok && now.Before(known.until) {
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

func fresh(began, now time.Time) bool { return now.Before(began.Add(sessionFresh)) }

// read asks the database, for all who wait for it, whatever becomes of the first of them.
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

// join returns the question about an account that is under way and not too old, or a new one,
// which is the caller's to ask.
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

// end keeps the answer, unless something was forgotten meanwhile.
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
		for other := range s.entries { // any will do: it comes back with one query
			delete(s.entries, other)
			break
		}
	}
	s.entries[userID] = session{user: read.user, until: read.began.Add(sessionFresh)}
}
