package store_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/internal/redistest"
	"github.com/chassi-go/chassi/redis"
)

func TestHighestTimeIsKept(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, open func() *store.Store) {
		s, other := open(), open()
		read := func() time.Time {
			t.Helper()
			now, highest, err := s.Clock(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if off := time.Since(now).Abs(); off > time.Minute { // one machine, or one that is set right
				t.Errorf("the database's clock shows %v", now)
			}
			return highest
		}
		if highest := read(); !highest.IsZero() {
			t.Errorf("the highest time of a new database is %v", highest)
		}
		for _, step := range []struct{ replaced, highest, want time.Time }{
			{time.Time{}, born, born},
			{time.Time{}, born.Add(time.Hour), born}, // another node was faster
			{born, born.Add(time.Minute), born.Add(time.Minute)},
			{born.Add(time.Minute), born, born},
		} {
			if err := other.KeepHighest(t.Context(), step.replaced, step.highest); err != nil {
				t.Fatal(err)
			}
			if got := read(); !got.Equal(step.want) {
				t.Errorf("the highest time is %v, want %v", got, step.want)
			}
		}
	})
}

// R89: a lock that was set by a clock that was ahead lasts no longer than any lock.
func TestALockOfAClockThatWasAheadEnds(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, open func() *store.Store) {
		s := open()
		for _, ahead := range []time.Duration{time.Hour, 24 * time.Hour} {
			key := ahead.String()
			if !passes(t, s, key, 1, born.Add(ahead)) || passes(t, s, key, 1, born) {
				t.Error("no lock was set")
			}
			if passes(t, s, key, 1, born.Add(time.Minute-time.Second)) {
				t.Error("the lock has ended before the longest time")
			}
			if !passes(t, s, key, 1, born.Add(time.Minute)) {
				t.Errorf("%v: the lock lasts for longer than the longest time", ahead)
			}
		}
	})
}

// R89, with the clock of Redis set back: what is stored then is ahead of it.
func TestALockEndsWhenTheClockOfRedisWasSetBack(t *testing.T) {
	t.Parallel()
	c, _ := redistest.Config(t)
	db := redistest.Open(t, c)
	set := redis.NewScript("set", `redis.call('HSET', KEYS[1], 'f', 1, 'u', string.format('%d', redis.call('TIME')[1] * 1000 + ARGV[1])) return {0}`)
	a := store.NewSharedAttempts(nil, db, func() { t.Error("fell back") })
	for _, ahead := range []time.Duration{time.Hour, 24 * time.Hour} {
		if _, err := db.Run(t.Context(), set, []string{"attempts:k"}, []string{strconv.FormatInt(ahead.Milliseconds(), 10)}); err != nil {
			t.Fatal(err)
		}
		const longest = 200 * time.Millisecond
		reserve := func() bool {
			t.Helper()
			_, locked, err := a.Reserve(t.Context(), []store.Bucket{{Key: "k", Limit: 1, Longest: longest}}, born, window)
			if err != nil {
				t.Fatal(err)
			}
			if left := locked.Sub(born); !locked.IsZero() && (left <= 0 || left > longest) {
				t.Fatalf("%v: locked for %v, want at most %v", ahead, left, longest)
			}
			return locked.IsZero()
		}
		if reserve() {
			t.Error("no lock was set")
		}
		for !reserve() { // until the longest time is over
		}
	}
}
