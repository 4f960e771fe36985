// Package redislimit limits the rate of calls across several nodes, with counts in Redis and a
// local limiter as the fallback.
package redislimit

import (
	"context"
	"strconv"
	"time"

	"github.com/chassi-go/chassi/ratelimit"
	"github.com/chassi-go/chassi/redis"
)

// Limiter limits the rate of calls by key, with buckets that all limiters with the
// same name on the same Redis share. It counts a call with one script, usually in
// one round trip, by the server's clock.
//
// While Redis is unavailable, each node counts locally, so that a key may use its limit
// on each node. If Redis restarts without its data, all buckets are full. A call that
// exceeds the local limit is rejected without a request to Redis, so that excessive
// calls of one key do not load the server.
//
// A Limiter is safe for concurrent use.
type Limiter struct {
	local    *ratelimit.Limiter
	db       *redis.DB
	name     string
	fallback func()
}

// New returns a limiter that enforces the limit of local with buckets in db that all limiters with
// the same name share. It calls fallback, which may be nil, for each call that only the local
// limiter decided because Redis was unavailable or because the context of the call was done.
func New(name string, local *ratelimit.Limiter, db *redis.DB, fallback func()) *Limiter {
	if fallback == nil {
		fallback = func() {}
	}
	return &Limiter{local: local, db: db, name: "limit:" + name + ":", fallback: fallback}
}

// Limit returns the current limit.
func (l *Limiter) Limit() ratelimit.Limit { return l.local.Limit() }

// Take decides whether a call of key is allowed, and counts the call if it is. If Redis
// is unavailable or ctx is done, the local limiter decides.
func (l *Limiter) Take(ctx context.Context, key ratelimit.Key) ratelimit.Decision {
	own := l.local.Allow(key)
	if !own.Allowed || own.Limit == 0 {
		return own
	}
	limit := l.local.Limit()
	interval := float64(time.Second/time.Microsecond) / limit.Rate
	response, err := l.db.Run(ctx, take, []string{l.name + key.String()}, []string{
		strconv.FormatFloat(interval, 'g', -1, 64), strconv.FormatFloat(interval*float64(limit.Burst), 'g', -1, 64),
	})
	if err != nil || len(response) != 3 {
		l.fallback()
		return own
	}
	reset := time.Duration(response[2]) * time.Microsecond
	if wait := response[1]; response[0] == 0 {
		return ratelimit.Decision{Limit: limit.Burst, RetryAfter: time.Duration(wait) * time.Microsecond, Reset: reset}
	}
	return ratelimit.Decision{Allowed: true, Limit: limit.Burst, Remaining: int(response[1]), Reset: reset}
}

// take implements GCRA, as in package ratelimit. The value of a key is the time at which its bucket
// is full again, in microseconds since 2025: numbers in Lua are too coarse for fractions of
// microseconds since 1970. A full bucket needs no key. The value is limited to that of an empty
// bucket, in case the server's clock was set back.
var take = redis.NewScript("take_token", `
local t = redis.call('TIME')
local now = (t[1] - 1735689600) * 1000000 + t[2]
local interval, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = tonumber(redis.call('GET', KEYS[1]) or 0)
if full < now then full = now end
if full > now + window then full = now + window end
local next = full + interval
local wait = next - window - now
if wait > 0.01 then return {0, math.ceil(wait), math.ceil(full - now)} end
redis.call('SET', KEYS[1], string.format('%.3f', next), 'PX', math.ceil((next - now) / 1000) + 1)
return {1, math.floor((window - (next - now)) / interval + 0.001), math.ceil(next - now)}
`)
