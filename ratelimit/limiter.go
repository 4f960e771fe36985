package ratelimit

import (
	"context"
	"hash/maphash"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// DefaultMaxKeys is the default of Options.MaxKeys. That many keys take 16 MiB.
	DefaultMaxKeys = 1 << 20

	mostKeys = 1 << 22 // 64 MiB
	shardLog = 8
	shardNum = 1 << shardLog
)

// Options configures a [Limiter]. With the zero value, a Limiter rejects every call.
type Options struct {
	// Limit is the limit of every key.
	Limit Limit

	// MaxKeys is the maximum number of stored keys, at 16 bytes each. It is rounded up to a power
	// of two from 4096 to 4,194,304 (64 MiB). 0 means DefaultMaxKeys.
	MaxKeys int

	// Now replaces the clock, for tests. The default is monotonic: changes of the wall clock
	// do not affect it. If a replacement goes back, the limiter's time does not: it
	// continues from the highest time reached.
	Now func() time.Time
}

// Decision reports whether a call is allowed, and the state of the key's bucket after the call.
type Decision struct {
	Allowed   bool
	Limit     int // the burst; 0 if the limit allows or rejects every call
	Remaining int // calls that would be allowed now

	// RetryAfter is the time until the next call can be allowed, or 0 if this call is
	// allowed. It is not exact for a key that several clients use. If the limit
	// rejects every call, it is one hour.
	RetryAfter time.Duration

	// Reset is the time until the bucket is full again. If the limit rejects every call, it is
	// one hour.
	Reset time.Duration
}

// Limiter limits the rate of calls by key. It is safe for concurrent use, starts no goroutine and
// need not be closed.
type Limiter struct {
	shards [shardNum]shard
	seed   maphash.Seed
	start  time.Time
	now    func() time.Time // nil for the monotonic clock

	mu    sync.Mutex // held by SetLimit
	limit atomic.Pointer[Limit]
}

// New returns a Limiter in which the bucket of every key is full.
func New(options Options) *Limiter {
	l := &Limiter{seed: maphash.MakeSeed(), now: options.Now}
	if l.now == nil {
		l.start = time.Now()
	} else {
		l.start = l.now()
	}
	sets := setsPerShard(options.MaxKeys)
	for i := range l.shards {
		l.shards[i].sets = make([]set, 1)
		l.shards[i].maxSets = sets
	}
	l.SetLimit(options.Limit)
	return l
}

func setsPerShard(keys int) int {
	if keys <= 0 {
		keys = DefaultMaxKeys
	}
	each := uint(min(keys, mostKeys)-1) / (shardNum * slots)
	return 1 << bits.Len(each)
}

// Allow decides whether a call of key is allowed, and counts the call if it is. It
// allocates memory only when the table grows.
func (l *Limiter) Allow(key Key) Decision {
	hash := maphash.Comparable(l.seed, key)
	s := &l.shards[hash>>(64-shardLog)]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.allow(hash, s.advance(l.elapsed()))
}

// Take returns l.Allow(key) and ignores the context. It lets a Limiter satisfy the same
// interface as a limiter that calls a server.
func (l *Limiter) Take(_ context.Context, key Key) Decision { return l.Allow(key) }

// Limit returns the current limit.
func (l *Limiter) Limit() Limit { return *l.limit.Load() }

// SetLimit changes the limit of all keys. It may be called concurrently with other methods. Each
// bucket keeps its relative fill: an empty bucket stays empty, and a half-full bucket stays half
// full. SetLimit takes about 2 ms per million keys, and holds the lock of each shard for a few
// microseconds.
func (l *Limiter) SetLimit(limit Limit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit.Store(&limit)
	next := newPace(limit)
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		s.setPace(next, s.advance(l.elapsed()))
		s.mu.Unlock()
	}
}

// Len returns the number of stored keys, which are those whose buckets are not full. It scans the
// table, which takes about 1 ms per million keys.
func (l *Limiter) Len() int {
	n := 0
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += s.live(s.advance(l.elapsed()))
		s.mu.Unlock()
	}
	return n
}

// elapsed returns the time since New in nanoseconds. The caller must hold the lock of the
// shard that uses the result, so that each shard uses readings in order.
func (l *Limiter) elapsed() int64 {
	if l.now == nil {
		return int64(time.Since(l.start))
	}
	return int64(l.now().Sub(l.start))
}

// pace is a Limit converted to nanoseconds.
type pace struct {
	burst    int
	interval int64 // between two calls at the limit's rate
	window   int64 // burst*interval; 0 for a limit that counts no calls
	off      bool
}

func newPace(l Limit) pace {
	if l.IsOff() || l.Validate() != nil {
		return pace{off: l.IsOff()}
	}
	interval := int64(l.interval())
	return pace{burst: l.Burst, interval: interval, window: interval * int64(l.Burst)}
}

// uncounted returns the decision for a pace whose window is 0. Its limit allows or
// rejects every call.
func (p pace) uncounted() Decision {
	if p.off {
		return Decision{Allowed: true, Remaining: math.MaxInt}
	}
	return Decision{RetryAfter: time.Hour, Reset: time.Hour}
}
