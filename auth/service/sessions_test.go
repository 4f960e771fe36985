package service

import (
	"fmt"
	"testing"
	"time"
)

// However many accounts are asked for, few are remembered.
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
