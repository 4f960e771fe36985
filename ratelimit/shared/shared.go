// Package shared counts calls over several nodes, in Redis, with a limiter of each node
// to fall back on.
package shared

import (
	"context"
	"strconv"
	"time"

	"github.com/chassi-go/chassi/ratelimit"
	"github.com/chassi-go/chassi/redis"
)

// Limiter is a [ratelimit.Limiter] whose buckets several nodes share: those that have
// one Redis, and limiters of one name. A call is counted by one script on the server,
// by the server's clock, in one round trip.
//
// When Redis cannot be used, each node counts for itself, so that a key may do as much
// on each of them; one that comes back empty begins with full buckets. What a node
// refuses by its own count alone, Redis is not asked about: a flood of one key costs it no
// more than that key's limit.
//
// It is safe for concurrent use.
type Limiter struct {
	local    *ratelimit.Limiter
	db       *redis.DB
	name     string
	fallback func()
}

// New makes a limiter that shares what local counts. Fallback is told of each call that
// was counted by this node alone; it may be nil.
func New(name string, local *ratelimit.Limiter, db *redis.DB, fallback func()) *Limiter {
	if fallback == nil {
		fallback = func() {}
	}
	return &Limiter{local: local, db: db, name: "limit:" + name + ":", fallback: fallback}
}

// Limit returns the limit in force.
func (l *Limiter) Limit() ratelimit.Limit { return l.local.Limit() }

// Take counts a call of key and says whether it may go on.
func (l *Limiter) Take(ctx context.Context, key ratelimit.Key) ratelimit.Decision {
	own := l.local.Allow(key)
	if !own.Allowed || own.Limit == 0 {
		return own
	}
	limit := l.local.Limit()
	interval := float64(time.Second/time.Microsecond) / limit.Rate
	answer, err := l.db.Run(ctx, take, []string{l.name + key.String()}, []string{
		strconv.FormatFloat(interval, 'g', -1, 64), strconv.FormatFloat(interval*float64(limit.Burst), 'g', -1, 64),
	})
	if err != nil || len(answer) != 3 {
		l.fallback()
		return own
	}
	reset := time.Duration(answer[2]) * time.Microsecond
	if wait := answer[1]; answer[0] == 0 {
		return ratelimit.Decision{Limit: limit.Burst, RetryAfter: time.Duration(wait) * time.Microsecond, Reset: reset}
	}
	return ratelimit.Decision{Allowed: true, Limit: limit.Burst, Remaining: int(answer[1]), Reset: reset}
}

// take is GCRA, as in package ratelimit: the value of a key is the time at which its
// bucket is full again. It is in microseconds since 2025, because a number of Redis's Lua
// would not hold fractions of them since 1970. A bucket that is full needs no key.
// None is emptier than empty, though the server's clock was set back.
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
