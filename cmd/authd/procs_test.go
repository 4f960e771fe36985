package main

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// GOMAXPROCS follows the CPU limit of the container, which may change, at a distance.
func TestExtraProcsFollowTheLimit(t *testing.T) {
	t.Setenv("GOMAXPROCS", "")
	synctest.Test(t, func(t *testing.T) {
		var limit, now atomic.Int64
		limit.Store(4)
		p := &extraProcs{extra: 2, chosen: func() int { return int(limit.Load()) }, set: func(n int) { now.Store(int64(n)) }}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.run(ctx) }()
		synctest.Wait()
		if now.Load() != 6 {
			t.Errorf("GOMAXPROCS %d, want 6", now.Load())
		}
		limit.Store(1)
		time.Sleep(procsInterval + 1)
		synctest.Wait()
		if now.Load() != 3 {
			t.Errorf("GOMAXPROCS %d after the limit became 1, want 3", now.Load())
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A GOMAXPROCS set in the environment is not changed.
func TestExtraProcsLeaveTheEnvironmentAlone(t *testing.T) {
	t.Setenv("GOMAXPROCS", "3")
	p := &extraProcs{extra: 2, chosen: func() int { t.Error("asked"); return 1 }, set: func(int) { t.Error("set") }}
	if err := p.run(t.Context()); err != nil {
		t.Error(err)
	}
}
