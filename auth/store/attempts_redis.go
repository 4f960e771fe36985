package store

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/chassi-go/chassi/redis"
)

// SharedAttempts counts failed attempts in Redis, by the server's clock: each of its
// methods is one script, which saves a login its transaction in the database. When Redis
// cannot be used they are counted in the database, from what that knows: at most as many
// attempts more as a limit allows go through when it goes, and again when it comes back
// empty. Networks are always remembered in the database.
type SharedAttempts struct {
	store    *Store
	db       *redis.DB
	fallback func()
}

// NewSharedAttempts returns attempts in db, or in s when db cannot be used, of which
// fallback is told.
func NewSharedAttempts(s *Store, db *redis.DB, fallback func()) *SharedAttempts {
	return &SharedAttempts{s, db, fallback}
}

// Reserve implements [Attempts]; now counts only without Redis.
func (a *SharedAttempts) Reserve(ctx context.Context, buckets []Bucket, now time.Time, window time.Duration) (time.Time, error) {
	args := []string{strconv.FormatInt(window.Milliseconds(), 10)}
	keys := make([]string, len(buckets))
	for i, b := range buckets {
		keys[i] = attemptKey + b.Key
		args = append(args, strconv.Itoa(b.Limit), strconv.FormatInt(b.Longest.Milliseconds(), 10))
	}
	left, err := a.db.Run(ctx, reserve, keys, args)
	if a.without(err) {
		return a.store.Reserve(ctx, buckets, now, window)
	}
	if err != nil || left[0] == 0 {
		return time.Time{}, err
	}
	return now.Add(time.Duration(left[0]) * time.Millisecond), nil
}

// Settle implements [Attempts].
func (a *SharedAttempts) Settle(ctx context.Context, forget, refund []string, userID, network string, now time.Time) error {
	_, err := a.db.Run(ctx, settle, attemptKeys(forget, refund), []string{strconv.Itoa(len(forget))})
	switch {
	case a.without(err):
		return a.store.Settle(ctx, forget, refund, userID, network, now)
	case err != nil || network == "":
		return err
	default:
		return a.store.Remember(ctx, userID, network, now)
	}
}

// Refund implements [Attempts].
func (a *SharedAttempts) Refund(ctx context.Context, keys []string) error {
	_, err := a.db.Run(ctx, settle, attemptKeys(nil, keys), []string{"0"})
	if a.without(err) {
		return a.store.Refund(ctx, keys)
	}
	return err
}

func (a *SharedAttempts) without(err error) bool {
	if !errors.Is(err, redis.ErrUnavailable) {
		return false
	}
	a.fallback()
	return true
}

const attemptKey = "attempts:"

func attemptKeys(lists ...[]string) []string {
	var keys []string
	for _, list := range lists {
		for _, key := range list {
			keys = append(keys, attemptKey+key)
		}
	}
	return keys
}

// A bucket is a hash of f, its failures, and u, until when it is locked, in
// milliseconds.
var (
	reserve = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local locked, failures = 0, {}
for i, key in ipairs(KEYS) do
	local bucket = redis.call('HMGET', key, 'f', 'u')
	failures[i] = tonumber(bucket[1] or 0) + 1
	locked = math.max(locked, tonumber(bucket[2] or 0) - now)
end
if locked > 0 then return {locked} end
for i, key in ipairs(KEYS) do
	local over, longest, till = failures[i] - tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1]), 0
	if over >= 0 then till = now + math.min(1000 * 2 ^ math.min(over, 30), longest) end
	redis.call('HSET', key, 'f', failures[i], 'u', string.format('%d', till))
	redis.call('PEXPIRE', key, ARGV[1])
end
return {0}
`)

	settle = redis.NewScript(`
for i, key in ipairs(KEYS) do
	if i <= tonumber(ARGV[1]) then
		redis.call('DEL', key)
	elseif tonumber(redis.call('HGET', key, 'f') or 0) > 0 then
		redis.call('HINCRBY', key, 'f', -1)
		redis.call('HSET', key, 'u', 0)
	end -- of the condition
end
return {0}
`)
)
