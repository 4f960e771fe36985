package service

import (
	"context"

	"github.com/chassi-go/chassi/ratelimit"
	"github.com/chassi-go/chassi/workpool"
)

// share counts a call that hashes passwords toward the limit of its source: a login, a sign-up, a
// password change, or the digest of a sign-up with an Idempotency-Key. The limit is half the number
// of tasks that the hashing pool can run and queue, but at least 1, so that one network cannot
// exhaust the pool. Above the limit share returns [auth.ErrBusy]. In-process calls are not limited.
// The returned function ends the counting of the call.
func (s *Service) share(ctx context.Context) (release func(), err error) {
	source := networkOf(ctx)
	if source == "" {
		return func() {}, nil
	}
	key := ratelimit.StringKey(source)
	if !s.hashing.Acquire(key, 1, placesOfOne(s.options.Pool.Stats())) {
		return nil, s.shed(workpool.ErrFull)
	}
	return func() { s.hashing.Release(key, 1) }, nil
}

// placesOfOne returns the maximum number of concurrent calls of one source that hash passwords on a
// pool with the given statistics.
func placesOfOne(pool workpool.Stats) int64 {
	return int64(max(1, (pool.Workers+pool.QueueSize)/2))
}
