// Package redisstore stores idempotency keys in Redis.
package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/chassi-go/chassi/idempotency"
	"github.com/chassi-go/chassi/redis"
)

// Store is an [idempotency.Store] in Redis. Each method runs one script, usually in one round trip.
// Leases and outcomes expire by the server's clock, and Redis deletes them. There is no fallback: while
// Redis is unavailable, every method returns an error that wraps [redis.ErrUnavailable].
//
// The guarantees of the store depend on the server. A server that evicts keys, restarts empty, or
// loses its last writes in a failover loses the record of calls that were carried out. If that is
// not acceptable, use sqlstore, or Redis with maxmemory-policy noeviction and appendfsync always,
// and without failover, because replication is asynchronous.
type Store struct{ db *redis.DB }

var _ idempotency.Store = (*Store)(nil)

// New returns a Store that stores keys in db.
func New(db *redis.DB) *Store { return &Store{db} }

// Begin implements [idempotency.Store].
func (s *Store) Begin(ctx context.Context, a idempotency.Attempt, lease time.Duration) (idempotency.State, []byte, error) {
	response, err := s.db.RunText(ctx, begin, keys(a), []string{a.Token, string(a.Fingerprint), milliseconds(lease)})
	if err != nil {
		return 0, nil, err
	}
	switch {
	case len(response) == 1 && response[0] == "begun":
		return idempotency.Begun, nil, nil
	case len(response) == 1 && response[0] == "running":
		return idempotency.Running, nil, nil
	case len(response) == 1 && response[0] == "reused":
		return idempotency.Reused, nil, nil
	case len(response) == 2 && response[0] == "finished":
		return idempotency.Finished, []byte(response[1]), nil
	}
	return 0, nil, fmt.Errorf("redisstore: the script returned an unexpected array of %d strings; want begun, running, reused, or finished and the outcome", len(response))
}

// Finish implements [idempotency.Store].
func (s *Store) Finish(ctx context.Context, a idempotency.Attempt, outcome []byte, keep time.Duration) error {
	if len(outcome) > idempotency.MaxOutcome {
		return idempotency.ErrTooLarge
	}
	response, err := s.db.Run(ctx, finish, keys(a), []string{a.Token, string(outcome), milliseconds(keep)})
	if err == nil && response[0] == 0 {
		return idempotency.ErrLost
	}
	return err
}

// Abandon implements [idempotency.Store].
func (s *Store) Abandon(ctx context.Context, a idempotency.Attempt) error {
	_, err := s.db.Run(ctx, abandon, keys(a), []string{a.Token})
	return err
}

func keys(a idempotency.Attempt) []string { return []string{"idempotency:" + a.Key} }

// milliseconds returns d in milliseconds, at least 1, because Redis deletes a key with a lifetime
// of 0 at once.
func milliseconds(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1), 10) }

// The scripts store a key as a hash with the fields f (the fingerprint), t (the token of the
// attempt) and, if the attempt has finished, o (the outcome). The hash expires with the lease
// or the outcome.
var (
	begin = redis.NewScript("begin_call", `
local key = redis.call('HMGET', KEYS[1], 't', 'f', 'o')
if not key[1] or key[1] == ARGV[1] and not key[3] then
	redis.call('HSET', KEYS[1], 't', ARGV[1], 'f', ARGV[2])
	redis.call('PEXPIRE', KEYS[1], ARGV[3])
	return {'begun'}
end
if key[2] ~= ARGV[2] then return {'reused'} end
if key[3] then return {'finished', key[3]} end
return {'running'}
`)

	finish = redis.NewScript("finish_call", `
if redis.call('HGET', KEYS[1], 't') ~= ARGV[1] then return {0} end
redis.call('HSET', KEYS[1], 'o', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {1}
`)

	abandon = redis.NewScript("abandon_call", `
if redis.call('HGET', KEYS[1], 't') == ARGV[1] and redis.call('HEXISTS', KEYS[1], 'o') == 0 then redis.call('DEL', KEYS[1]) end
return {0}
`)
)
