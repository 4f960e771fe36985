package database

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	maxTries   = 100 // attempts in case of a conflict; for a lock, the number is not limited
	maxLost    = 5   // attempts in case of a broken connection
	firstPause = time.Millisecond
	longPause  = 64 * time.Millisecond
)

// retry calls try until try succeeds, fails permanently or reaches the limit of attempts, or until
// ctx is done, and returns the last error. ctx must have a deadline. retry records the outcome of each
// attempt for [DB.Check].
func (db *DB) retry(ctx context.Context, try func() error) error {
	return db.rerun(ctx, func() error {
		err := try()
		db.health.saw(err)
		return err
	})
}

// rerun calls try repeatedly, as [DB.retry] does, but does not record the outcomes. It is for
// operations that are not calls of the program, such as [DB.Check].
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
			db.dropIdle() // the next call connects to the new primary server
			return err
		default:
			return err
		}
		if !pause(ctx, n) {
			return db.writing().fail(ctx, "retry", err)
		}
	}
}

// pause waits after attempt n for a random time below a limit that doubles with each attempt, up to
// longPause, so that conflicting transactions do not collide again. It returns false if ctx is done
// first.
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
