package service

import (
	"context"

	"github.com/chassi-go/chassi/ratelimit"
	"github.com/chassi-go/chassi/workpool"
)

// share reserves a place for a call that hashes passwords: a login, a sign-up, a password change,
// or the digest of a sign-up with an Idempotency-Key. One source has at most half of the places of
// the workers and the queue, so that one network cannot exhaust the pool. Above the limit share
// returns [auth.ErrBusy]. Calls in process are not limited. The returned function releases the
// place.
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

// placesOfOne returns how many places of a pool one source may have.
func placesOfOne(pool workpool.Stats) int64 {
	return int64(max(1, (pool.Workers+pool.QueueSize)/2))
}
