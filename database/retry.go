package database

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	maxTries   = 100 // of a conflict; a lock is awaited until ctx ends
	maxLost    = 5   // tries that lose their connection
	firstPause = time.Millisecond
	longPause  = 64 * time.Millisecond
)

// retry runs try until it succeeds, fails for good or ctx ends. ctx must have a
// deadline. [DB.Check] learns from it.
func (db *DB) retry(ctx context.Context, try func() error) error {
	return db.rerun(ctx, func() error {
		err := try()
		db.health.saw(err)
		return err
	})
}

// rerun is retry for what is no call.
func (db *DB) rerun(ctx context.Context, try func() error) error {
	for n := 1; ; n++ {
		err := try()
		switch classOf(err) {
		case classBusy:
		case classConflict:
			if n >= maxTries {
				return err
			}
		case classLost:
			db.dropIdle()
			if n >= maxLost {
				return err
			}
		case classReadOnly:
			db.dropIdle() // the next call shall find the server that took over
			return err
		default:
			return err
		}
		if !pause(ctx, n) {
			return db.writing().fail(ctx, "retry", err)
		}
	}
}

// pause waits for a random time below a bound that doubles with each try, so that
// those who collided do not meet again. It is false when ctx ended.
func pause(ctx context.Context, n int) bool {
	limit := min(firstPause<<min(n, 10), longPause)
	timer := time.NewTimer(rand.N(limit))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
