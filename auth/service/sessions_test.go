package service

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/chassi-go/chassi/auth/store"
)

// The number of cached accounts is bounded.
func TestRememberedSessionsAreBounded(t *testing.T) {
	t.Parallel()
	c := newSessions(nil, time.Now)
	const accounts = 3 * sessionShards * sessionsInShard
	for i := range accounts {
		id := fmt.Sprint("account", i)
		read, _ := c.shard(id).join(id, time.Now())
		c.shard(id).end(id, read)
	}
	total := 0
	for i := range c.shards {
		total += len(c.shards[i].entries)
	}
	if most := sessionShards * sessionsInShard; total > most || total < most/2 {
		t.Errorf("%d accounts of %d are remembered, want at most %d", total, accounts, most)
	}
}

// What was remembered while the clock was far ahead is not remembered until that time comes
// again: a clock that is set back by more than 36 hours is followed at once.
func TestRememberedSessionsEndWhenTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := newSessions(nil, func() time.Time { return now }) // who asks the store panics, which is contained
	read, _ := c.shard("ada").join("ada", now)
	c.shard("ada").end("ada", read)
	if _, err := c.user(t.Context(), "ada"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("not remembered: %v", err)
	}
	now = now.Add(-365 * 24 * time.Hour)
	if _, err := c.user(t.Context(), "ada"); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v: remembered for a year", err)
	}
	shard := c.shard("ada")
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if len(shard.reads) != 0 {
		t.Errorf("%d questions that were answered are kept", len(shard.reads))
	}
}

// A response that was asked for before its account was forgotten is not remembered, nor given to
// anyone who asks afterwards; one that failed is not remembered either.
func TestDroppedSessionsAreRequestedAgain(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := newSessions(nil, func() time.Time { return now })
	shard := c.shard("ada")
	old, own := shard.join("ada", now)
	if again, second := shard.join("ada", now); !own || second || again != old {
		t.Fatal("calls at once do not share one question")
	}
	c.invalidate("ada")
	latest, own := shard.join("ada", now)
	if !own || latest == old {
		t.Error("a question from before the account was forgotten is shared")
	}
	shard.end("ada", old)
	if len(shard.entries) != 0 || shard.reads["ada"] != latest {
		t.Errorf("%d remembered; the latest question is under way: %t", len(shard.entries), shard.reads["ada"] == latest)
	}
	if late, own := shard.join("ada", now.Add(sessionFresh)); !own || late == latest {
		t.Error("a question that is too old is shared")
	}
	latest.err = errors.New("the database is away")
	shard.reads["ada"] = latest
	shard.end("ada", latest)
	if len(shard.entries) != 0 || len(shard.reads) != 0 {
		t.Errorf("%d remembered and %d under way after a failure", len(shard.entries), len(shard.reads))
	}
}

// A caller that gives up does not wait for the response.
func TestCallersGiveUpWaitingForASession(t *testing.T) {
	t.Parallel()
	c := newSessions(nil, time.Now)
	c.shard("ada").join("ada", time.Now()) // a question that is never responded
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.user(ctx, "ada"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// Loads of the keys take turns, and one that gives up waiting for its turn fails.
func TestLoadsOfKeysTakeTurns(t *testing.T) {
	t.Parallel()
	s := newKeyState()
	if err := s.lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.lock(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a second load at once: %v", err)
	}
	s.unlock()
	if err := s.lock(t.Context()); err != nil {
		t.Error(err)
	}
}
