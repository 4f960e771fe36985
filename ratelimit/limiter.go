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
	// DefaultMaxKeys is the number of keys remembered unless told otherwise: 16 MiB.
	DefaultMaxKeys = 1 << 20

	mostKeys = 1 << 22 // 64 MiB
	shardLog = 8
	shardNum = 1 << shardLog
)

// Options of a Limiter. The zero value refuses every call, for want of a Limit.
type Options struct {
	// Limit of every key.
	Limit Limit

	// MaxKeys is how many keys are remembered at once, at 16 bytes each. It is
	// rounded up to a power of two from 4096 to 4,194,304 (64 MiB). 0 means
	// DefaultMaxKeys.
	MaxKeys int

	// Now replaces the clock, for tests. The default is monotonic: it does not
	// follow the wall clock when that is set. When a replacement steps back, the
	// limiter's time stands still for that step and runs on from there.
	Now func() time.Time
}

// Decision is the answer to one call.
type Decision struct {
	Allowed   bool
	Limit     int // the burst; 0 when the limit is off or refuses every call
	Remaining int // calls that would pass right now

	// RetryAfter is the wait until the next call can pass, 0 when it was allowed.
	// Nothing is promised to a key that others share. Under a limit that refuses
	// every call it is one hour.
	RetryAfter time.Duration

	// Reset is the wait until the bucket is full again.
	Reset time.Duration
}

// A Limiter counts calls by key. It is safe for concurrent use, starts no
// goroutine and needs no closing.
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

// Allow counts a call of key and says whether it may go on. A refused call costs
// the key nothing. It allocates nothing.
func (l *Limiter) Allow(key Key) Decision {
	hash := maphash.Comparable(l.seed, key)
	s := &l.shards[hash>>(64-shardLog)]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.allow(hash, s.advance(l.elapsed()))
}

// Take is Allow, for those who take a limiter that may ask a server.
func (l *Limiter) Take(_ context.Context, key Key) Decision { return l.Allow(key) }

// Limit returns the limit in force.
func (l *Limiter) Limit() Limit { return *l.limit.Load() }

// SetLimit changes the limit of all keys while calls go on. Every bucket stays
// as full as it is: an empty one is empty under the new limit, a half full one
// half full. It takes about 2 ms per million keys, a few microseconds of which
// under any one lock.
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

// Len returns the number of keys remembered: those whose bucket is not full. It
// reads the whole table, in about 1 ms per million keys.
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

// elapsed is the time since New. Callers hold the lock of the shard they use it
// for, so that a shard sees readings in the order they were taken.
func (l *Limiter) elapsed() int64 {
	if l.now == nil {
		return int64(time.Since(l.start))
	}
	return int64(l.now().Sub(l.start))
}

// pace is a Limit in nanoseconds.
type pace struct {
	burst    int
	interval int64 // between two calls at the limit's rate
	window   int64 // burst*interval; 0 for a limit that keeps no account
	off      bool
}

func newPace(l Limit) pace {
	if l.IsOff() || l.Validate() != nil {
		return pace{off: l.IsOff()}
	}
	interval := int64(l.interval())
	return pace{burst: l.Burst, interval: interval, window: interval * int64(l.Burst)}
}

// uncounted decides for a pace without a window.
func (p pace) uncounted() Decision {
	if p.off {
		return Decision{Allowed: true, Remaining: math.MaxInt}
	}
	return Decision{RetryAfter: time.Hour, Reset: time.Hour}
}
