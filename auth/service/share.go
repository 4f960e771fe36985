package service

import (
	"context"

	"github.com/chassi-go/chassi/ratelimit"
	"github.com/chassi-go/chassi/workpool"
)

// share holds a place among the calls of the caller's source that hash passwords or wait
// for that: logins, sign-ups, digests of sign-ups with an Idempotency-Key and password
// changes together. A source has no more than half
// of the workers and the queue, so that one network cannot take all and have the others
// refused; beyond, the call gets [auth.ErrBusy] before anything is spent on it. Calls in
// process are not counted. The returned function gives the place back.
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
