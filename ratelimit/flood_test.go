package ratelimit_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/chassi-go/chassi/ratelimit"
)

const hostile = 2_000_000

// Two million keys, one call each, against a table of a million: memory stays
// within the stated figure, blocked keys stay blocked, new keys are served.
func TestFloodOfKeysF29(t *testing.T) {
	before := heap()
	clock := newClock()
	l := ratelimit.New(ratelimit.Options{Limit: ratelimit.Per(10, time.Hour), Now: clock.now})
	const blocked = 1000
	for n := range blocked {
		spend(l, number(n))
	}
	refused := 0
	for n := range hostile {
		clock.advance(time.Microsecond)
		refused += count(!l.Allow(number(blocked + n)).Allowed)
		if who := n / 8 % blocked; n%8 == 0 && l.Allow(number(who)).Allowed {
			t.Fatalf("blocked key %d passed after %d others", who, n)
		}
	}
	if refused > 0 {
		t.Errorf("%d of %d keys were refused their first call", refused, hostile)
	}
	if got := l.Len(); got > ratelimit.DefaultMaxKeys || got < ratelimit.DefaultMaxKeys/2 {
		t.Errorf("%d keys remembered, want at most %d", got, ratelimit.DefaultMaxKeys)
	}
	const stated = 16<<20 + 256<<10
	grown := heap() - before
	t.Logf("%d hostile keys: heap grew by %.1f MiB; of %d blocked keys none passed, of the others none was refused its first call", hostile, float64(grown)/(1<<20), blocked)
	if grown > stated {
		t.Errorf("heap grew by %d bytes, stated are %d", grown, stated)
	}
	clock.advance(2 * time.Hour)
	if got := l.Len(); got != 0 {
		t.Errorf("%d keys remembered when all buckets are full", got)
	}
	runtime.KeepAlive(l)
}

// The table grows with the number of keys, not with the number of their calls.
func TestRepeatedCallsDoNotAllocate(t *testing.T) {
	before := heap()
	l := ratelimit.New(ratelimit.Options{Limit: ratelimit.Per(100, time.Hour)})
	for range 10 {
		for n := range 1000 {
			l.Allow(number(n))
		}
	}
	if grown := heap() - before; grown > 1<<20 {
		t.Errorf("heap grew by %d bytes for 1,000 keys", grown)
	}
	runtime.KeepAlive(l)
}

// A flood that empties every bucket of the table: refusals, never a grant to
// those who were blocked before, and an end to it after one window.
func TestFloodThatFillsTheTableF29(t *testing.T) {
	t.Parallel()
	clock := newClock()
	l := ratelimit.New(ratelimit.Options{Limit: ratelimit.Per(5, time.Hour), MaxKeys: 4096, Now: clock.now})
	spend(l, ratelimit.StringKey("blocked"))
	passed := 1
	for n := range 100_000 {
		passed += count(l.Allow(number(n)).Allowed)
	}
	if want := 5 * 4096; passed > want {
		t.Errorf("%d calls passed, want at most the table's %d", passed, want)
	}
	if l.Allow(ratelimit.StringKey("blocked")).Allowed {
		t.Error("blocked key passed")
	}
	if d := l.Allow(ratelimit.StringKey("new")); d.Allowed || d.RetryAfter <= 0 {
		t.Errorf("new key in an exhausted table: %+v, want a refusal", d)
	}
	clock.advance(time.Hour)
	if got := spend(l, ratelimit.StringKey("new")); got != 5 {
		t.Errorf("%d calls a window later, want 5", got)
	}
}

func TestMaxKeysBounds(t *testing.T) {
	t.Parallel()
	for asked, want := range map[int]int{-1: ratelimit.DefaultMaxKeys, 1: 4096, 4096: 4096, 4097: 8192} {
		l := ratelimit.New(ratelimit.Options{Limit: ratelimit.Per(100, time.Hour), MaxKeys: asked})
		for n := range 3 * 8192 {
			l.Allow(number(n))
		}
		if got := l.Len(); got > want || want < 8192 && got < want {
			t.Errorf("MaxKeys %d: %d keys stored, want %d", asked, got, want)
		}
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
