package store

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/chassi-go/chassi/redis"
)

// SharedAttempts counts failed attempts in Redis, by the clock of the Redis server. Each method
// runs one script, and Settle then also stores the network, if there is one, in the database. While
// Redis is unavailable, attempts are counted in the database, starting from the counts stored
// there. A failure of Redis therefore permits at most as many further attempts as the limit, and as
// many again if Redis returns without its data. Networks are always stored in the database.
// SharedAttempts is safe for concurrent use.
type SharedAttempts struct {
	store    *Store
	db       *redis.DB
	fallback func()
}

// NewSharedAttempts returns a SharedAttempts that counts in db, or in s while db is unavailable. The
// SharedAttempts calls fallback whenever a method uses s because db is unavailable.
func NewSharedAttempts(s *Store, db *redis.DB, fallback func()) *SharedAttempts {
	return &SharedAttempts{s, db, fallback}
}

// Reserve implements [Attempts]. While Redis is available, now is used only to compute the result
// locked.
func (a *SharedAttempts) Reserve(ctx context.Context, buckets []Bucket, now time.Time, window time.Duration) ([]Counted, time.Time, error) {
	args := []string{strconv.FormatInt(window.Milliseconds(), 10)}
	keys := make([]string, len(buckets))
	for i, b := range buckets {
		keys[i] = attemptKey + b.Key
		limit := b.Limit
		if b.Exempt {
			limit = 0
		}
		args = append(args, strconv.Itoa(limit), strconv.FormatInt(b.Longest.Milliseconds(), 10))
	}
	response, err := a.db.Run(ctx, reserveScript, keys, args)
	switch {
	case a.without(err):
		return a.store.Reserve(ctx, buckets, now, window)
	case err != nil:
		return nil, time.Time{}, err
	case response[0] > 0:
		return nil, now.Add(time.Duration(response[0]) * time.Millisecond), nil
	}
	var counted []Counted
	for i, b := range buckets {
		if !b.Exempt {
			counted = append(counted, Counted{b.Key, b.Limit, response[1+i]})
		}
	}
	return counted, time.Time{}, nil
}

// Settle implements [Attempts].
func (a *SharedAttempts) Settle(ctx context.Context, forget []string, refund []Counted, userID, network string, now time.Time) error {
	err := a.settle(ctx, forget, refund)
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
func (a *SharedAttempts) Refund(ctx context.Context, counted []Counted) error {
	err := a.settle(ctx, nil, counted)
	if a.without(err) {
		return a.store.Refund(ctx, counted)
	}
	return err
}

func (a *SharedAttempts) settle(ctx context.Context, forget []string, refund []Counted) error {
	keys, args := make([]string, 0, len(forget)+len(refund)), []string{strconv.Itoa(len(forget))}
	for _, key := range forget {
		keys = append(keys, attemptKey+key)
	}
	for _, c := range refund {
		keys = append(keys, attemptKey+c.Key)
		args = append(args, strconv.Itoa(c.Limit), strconv.FormatInt(c.Lock, 10))
	}
	_, err := a.db.Run(ctx, settleScript, keys, args)
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

// The scripts of SharedAttempts. They store a bucket as a hash with the fields f, the number of
// failures, and u, the end of the lock in milliseconds. A limit of 0 means that the bucket is
// exempt. A lock lasts no longer than Longest, even if the server's clock was set back.
var (
	reserveScript = redis.NewScript("count_attempt", `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local locked, again, failures, till = 0, 0, {}, {}
local function write(i)
	redis.call('HSET', KEYS[i], 'f', failures[i], 'u', string.format('%d', till[i]))
	redis.call('PEXPIRE', KEYS[i], ARGV[1])
end
for i, key in ipairs(KEYS) do
	local bucket = redis.call('HMGET', key, 'f', 'u')
	failures[i], till[i] = tonumber(bucket[1] or 0), tonumber(bucket[2] or 0)
	local latest = now + tonumber(ARGV[2 * i + 1])
	if till[i] > latest then till[i] = latest end -- the server's clock was set back
	if tonumber(ARGV[2 * i]) > 0 and till[i] - now > locked then
		locked, again = till[i] - now, i
	end -- of the condition
end
local answer = {locked}
for i = 1, #KEYS do
	local limit, longest = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
	answer[1 + i] = 0
	if locked == 0 and limit > 0 then
		local over = failures[i] + 1 - limit
		failures[i], till[i], again = failures[i] + 1, 0, i
		if over >= 0 then till[i] = math.floor(now + math.min(1000 * 2 ^ math.min(over, 30), longest)) end
		answer[1 + i] = till[i]
	end
	if again > 0 then write(again) end -- as it is, in place of one that is not counted
end
return answer
`)

	settleScript = redis.NewScript("settle_attempt", `
local forget = tonumber(ARGV[1])
for i, key in ipairs(KEYS) do
	local failures = tonumber(redis.call('HGET', key, 'f') or 0)
	if i <= forget then
		redis.call('DEL', key)
	elseif failures > 0 then
		local limit, lock = tonumber(ARGV[2 * (i - forget)]), tonumber(ARGV[2 * (i - forget) + 1])
		if failures <= limit or tonumber(redis.call('HGET', key, 'u')) == lock then redis.call('HSET', key, 'u', 0) end
		redis.call('HINCRBY', key, 'f', -1)
	end -- of the condition
end
return {0}
`)
)
